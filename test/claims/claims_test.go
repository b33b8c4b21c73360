package claims

import (
	"testing"

	"github.com/acmeca/acmeca/hack/project"
)

func TestExists(t *testing.T) {
	root, err := project.Root()
	if err != nil {
		t.Fatal(err)
	}
	for test, want := range map[string]bool{
		"test/claims: TestExists":               true,
		"test/claims: TestExists/TestExists":    true, // a case of this table
		"test/claims: TestExists/no case of it": false,
		"test/claims: TestAbsent":               false,
		"test/claims: Nobody":                   false,
		"test/nowhere: TestExists":              false,
		"TestExists":                            false,
		"test/trust: can't delete anything":     true,
		"controllers/ca: FuzzParseCRL":          true,
	} {
		if got := exists(root, test); got != want {
			t.Errorf("%q: got %v", test, got)
		}
	}
}
