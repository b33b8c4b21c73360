// Package test holds the tests of several packages at once. This one keeps the directions of imports.
package test

import (
	"os/exec"
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

func dependencies(t *testing.T, pkg string) []string {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "./"+pkg)
	cmd.Dir = ".."
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %s: %v", pkg, err)
	}
	lines := strings.Fields(string(output))
	if len(lines) == 0 {
		t.Fatalf("go list %s: no packages", pkg)
	}
	return lines
}
