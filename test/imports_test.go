// Package test holds the tests that read the whole tree: the directions of imports, and the English of comments and documents.
package test

import (
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/acmeca/acmeca/"

// TestImportDirections checks all dependencies. A linter checks only direct imports.
func TestImportDirections(t *testing.T) {
	kubernetes := []string{"k8s.io/", "sigs.k8s.io/"}
	tests := []struct {
		why      string
		packages []string
		never    []string // prefixes of import paths
	}{
		{"test support stays out of the operator", []string{"cmd/...", "controllers/...", "acmeserver/..."}, []string{module + "internal/test"}},
		{"the vocabulary needs the standard library alone", []string{"api/acme"}, []string{"golang.org/", "github.com/", "k8s.io/"}},
		{"pure packages are tested and fuzzed without a cluster",
			[]string{"api/acme", "internal/jws", "internal/tracing", "internal/listen", "internal/pki", "acmeserver/nonce", "controllers/ca", "controllers/validation/..."}, kubernetes},
		{"controllers and ACME server meet in the API objects alone", []string{"controllers/..."}, []string{module + "acmeserver"}},
		{"controllers and ACME server meet in the API objects alone", []string{"acmeserver/..."}, []string{module + "controllers"}},
		{"the API knows neither half, nor what they share", []string{"api/..."}, []string{module + "acmeserver", module + "controllers", module + "cmd", module + "internal"}},
		{"development code stays out of the operator", []string{"cmd/..."}, []string{module + "hack", module + "test"}},
	}
	for _, test := range tests {
		for _, pkg := range test.packages {
			t.Run(pkg, func(t *testing.T) {
				for _, dependency := range dependencies(t, pkg) {
					if strings.HasPrefix(dependency, module+strings.TrimSuffix(pkg, "/...")) {
						continue // the package itself
					}
					for _, prefix := range test.never {
						if strings.HasPrefix(dependency, prefix) {
							t.Errorf("%s imports %s: %s", pkg, dependency, test.why)
						}
					}
				}
			})
		}
	}
}

// controllerLayers are the packages of the controllers, in the order in which they build on each other. A package imports none of its
// own layer.
var controllerLayers = [][]string{
	{"kube", "ca", "validation/...", "budget", "inventory"}, // ca and validation are pure
	{"issuers", "audit", "keyservice"},
	{"verify", "metrics", "authority", "serversecrets"},
	{"attempts"},
	{"account", "authorization", "order", "crl", "retention", "podcertificate"}, // a package per lifecycle
	{"issuer"},
}

func TestControllerImportDirections(t *testing.T) {
	layerOf := func(pkg string) int {
		for i, layer := range controllerLayers {
			for _, name := range layer {
				subtree, all := strings.CutSuffix(name, "/...")
				if pkg == "controllers/"+subtree || all && strings.HasPrefix(pkg, "controllers/"+subtree+"/") {
					return i
				}
			}
		}
		return -1
	}
	for _, line := range goList(t, "-f", `{{.ImportPath}}{{range .Imports}},{{.}}{{end}}`, "controllers/...") {
		paths := strings.Split(line, ",")
		pkg := strings.TrimPrefix(paths[0], module)
		if pkg == "controllers" || pkg == "controllers/suite" || pkg == "controllers/ca/catest" { // the wiring, and tests
			continue
		}
		layer := layerOf(pkg)
		if layer < 0 {
			t.Errorf("%s is in no layer", pkg)
		}
		for _, imported := range paths[1:] {
			imported, own := strings.CutPrefix(imported, module)
			below := layerOf(imported) >= 0 && layerOf(imported) < layer
			within := strings.HasPrefix(pkg, "controllers/validation") && strings.HasPrefix(imported, "controllers/validation")
			if own && strings.HasPrefix(imported, "controllers") && !below && !within {
				t.Errorf("%s imports %s", pkg, imported)
			}
		}
	}
}

func dependencies(t *testing.T, pkg string) []string {
	t.Helper()
	return goList(t, "-deps", pkg)
}

// goList runs go list. The last argument is the pattern, the ones before it are flags.
func goList(t *testing.T, args ...string) []string {
	t.Helper()
	last := len(args) - 1
	cmd := exec.Command("go", append(append([]string{"list"}, args[:last]...), "./"+args[last])...)
	cmd.Dir = ".."
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %s: %v", args, err)
	}
	lines := strings.Fields(string(output))
	if len(lines) == 0 {
		t.Fatalf("go list %s: no packages", args)
	}
	return lines
}
