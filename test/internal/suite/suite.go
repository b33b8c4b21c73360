// Package suite is what the suites have in common that test a running acmeca.
package suite

import (
	"context"
	"os/exec"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/internal/test/local"
)

// Start starts an acmeca, which stops with the suite or the spec that it is started in. The operator gets the arguments
// besides its own.
func Start(ctx context.Context, args ...string) *local.Local {
	GinkgoHelper()
	acmeca, stop, err := local.StartForTest(ctx, args...)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(stop)
	return acmeca
}

// ShowLog shows the operator's last words with each spec of the suite that fails. The acmeca may start later.
func ShowLog(acmeca **local.Local) bool {
	return ReportAfterEach(func(report SpecReport) {
		if report.Failed() && *acmeca != nil {
			text, _ := exec.Command("tail", "-n", "60", (*acmeca).OperatorLog()).Output()
			AddReportEntry("acmeca's log", string(text), ReportEntryVisibilityFailureOrVerbose)
		}
	})
}
