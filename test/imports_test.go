// Package test holds the tests of several packages at once. This one keeps the directions of imports.
package test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/acmeca/acmeca/"

// TestImportDirections looks at all dependencies, indirect ones too, which a linter doesn't.
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
			[]string{"api/acme", "internal/jws", "internal/tracing", "internal/pki/keycheck", "internal/pki/validity", "acmeserver/nonce", "controllers/ca", "controllers/validation/..."}, kubernetes},
		{"controllers and ACME server meet in the API objects alone", []string{"controllers/..."}, []string{module + "acmeserver"}},
		{"controllers and ACME server meet in the API objects alone", []string{"acmeserver/..."}, []string{module + "controllers"}},
		{"the API knows neither half", []string{"api/..."}, []string{module + "acmeserver", module + "controllers", module + "cmd"}},
		{"development code stays out of the operator", []string{"cmd/..."}, []string{module + "hack", module + "test"}},
	}
	for _, test := range tests {
		for _, pkg := range test.packages {
			t.Run(pkg, func(t *testing.T) {
				for _, dependency := range dependencies(t, pkg) {
					if strings.HasPrefix(dependency, module+strings.TrimSuffix(pkg, "/...")) {
						continue // itself
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
	{"kube", "ca", "validation/..."}, // the latter two are pure
	{"issuers", "audit"},
	{"verify", "metrics", "authority", "serversecrets"},
	{"attempts"},
	{"account", "authorization", "order", "crl", "retention"}, // a package per lifecycle
	{"issuer"},
}

func TestControllerImportDirections(t *testing.T) {
	known := map[string]bool{"controllers": true, "controllers/suite": true} // the wiring, and the suites
	var below []string
	for _, layer := range controllerLayers {
		var added []string
		for _, name := range layer {
			pkg := "controllers/" + name
			packages := packagesIn(t, pkg)
			for _, dependency := range dependencies(t, pkg) {
				imported, ok := strings.CutPrefix(dependency, module)
				if ok && strings.HasPrefix(imported, "controllers") && !slices.Contains(packages, imported) && !slices.Contains(below, imported) {
					t.Errorf("%s imports %s", pkg, imported)
				}
			}
			added = append(added, packages...)
		}
		below = append(below, added...)
	}
	for _, pkg := range below {
		known[pkg] = true
	}
	for _, pkg := range packagesIn(t, "controllers/...") {
		if !known[pkg] {
			t.Errorf("%s is in no layer", pkg)
		}
	}
}

// packagesIn lists the packages that a pattern matches, without the module's path.
func packagesIn(t *testing.T, pattern string) []string {
	t.Helper()
	packages := goList(t, pattern)
	for i := range packages {
		packages[i] = strings.TrimPrefix(packages[i], module)
	}
	return packages
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
