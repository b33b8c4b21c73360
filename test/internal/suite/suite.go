// Package suite holds the common parts of suites that test a running acmeca.
package suite

import (
	"context"
	"os/exec"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/internal/test/local"
)

// Start starts an acmeca with additional arguments of the operator. It stops with the suite or spec that starts it.
func Start(ctx context.Context, args ...string) *local.Local {
	GinkgoHelper()
	acmeca, stop, err := local.StartForTest(ctx, args...)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(stop)
	return acmeca
}

// ShowLog shows the operator's last log lines with each failed spec. The acmeca may start later.
func ShowLog(acmeca **local.Local) bool {
	return ReportAfterEach(func(report SpecReport) {
		if report.Failed() && *acmeca != nil {
			text, _ := exec.Command("tail", "-n", "60", (*acmeca).OperatorLog()).Output()
			AddReportEntry("acmeca's log", string(text), ReportEntryVisibilityFailureOrVerbose)
		}
	})
}
