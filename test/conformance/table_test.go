package conformance

import (
	"testing"

	. "github.com/onsi/ginkgo/v2"

	"github.com/acmeca/acmeca/test/internal/claims"
)

// TestTable holds docs/conformance.md to name tests that exist, for each requirement at least one: specs of this suite by
// their full text, and others as "directory: TestName" or "directory: text of a spec".
func TestTable(t *testing.T) {
	specs := map[string]bool{}
	for _, spec := range PreviewSpecs("Conformance").SpecReports {
		specs[spec.FullText()] = true
	}
	claims.Check(t, "docs/conformance.md", 100, func(test string) bool { return specs[test] })
}
