package claims

import (
	"testing"

	"github.com/acmeca/acmeca/internal/test/project"
)

func TestExists(t *testing.T) {
	root, err := project.Root()
	if err != nil {
		t.Fatal(err)
	}
	for test, want := range map[string]bool{
		"test/internal/claims: TestExists":               true,
		"test/internal/claims: TestExists/TestExists":    true, // a case of this table
		"test/internal/claims: TestExists/no case of it": false,
		"test/internal/claims: TestAbsent":               false,
		"test/internal/claims: Nobody":                   false,
		"test/nowhere: TestExists":                       false,
		"TestExists":                                     false,
		"test/trust: cannot delete anything":             true,
		"controllers/ca: FuzzParseCRL":                   true,
	} {
		if got := exists(root, test); got != want {
			t.Errorf("%q: got %v", test, got)
		}
	}
}
