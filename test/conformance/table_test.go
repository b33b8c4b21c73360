package conformance

import (
	"testing"

	. "github.com/onsi/ginkgo/v2"

	"github.com/acmeca/acmeca/test/internal/claims"
)

// TestTable checks that docs/conformance.md names at least one existing test for each requirement: specs of this
// suite by their full text, other tests as "directory: TestName" or "directory: text of a spec".
func TestTable(t *testing.T) {
	specs := map[string]bool{}
	for _, spec := range PreviewSpecs("Conformance").SpecReports {
		specs[spec.FullText()] = true
	}
	claims.Check(t, "docs/conformance.md", 100, func(test string) bool { return specs[test] })
}
