// Package suite holds the common parts of suites that test a running acmeca.
package suite

import (
	"context"
	"crypto/x509"
	"os/exec"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/http01"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/test/internal/certificates"
)

// Run runs the specs of a package as a test.
func Run(t *testing.T, name string) {
	t.Helper()
	RegisterFailHandler(Fail)
	RunSpecs(t, name)
}

// Start starts an acmeca with additional arguments of the operator. It stops with the suite or spec that starts it.
func Start(ctx context.Context, args ...string) *local.Local {
	GinkgoHelper()
	acmeca, stop, err := local.StartForTest(ctx, args...)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(stop)
	return acmeca
}

// StartContained starts an acmeca whose halves are processes with the memory limits of the manifests, and the ACME server with
// additional arguments. It stops with the suite or spec that starts it.
func StartContained(ctx context.Context, serverArgs ...string) (*local.Local, *local.Replica) {
	GinkgoHelper()
	acmeca, stop, err := local.StartForTestContained(ctx)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(stop)
	server, err := acmeca.StartServer(ctx, serverArgs...)
	Expect(err).NotTo(HaveOccurred())
	return acmeca, server
}

// Respond starts a responder for http-01 on a port. It stops with the suite or spec that starts it.
func Respond(port int) *http01.Responder {
	GinkgoHelper()
	responder, err := http01.Start(port)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(responder.Stop)
	return responder
}

// Roots returns the roots that clients of an acmeca must trust.
func Roots(acmeca *local.Local) *x509.CertPool {
	GinkgoHelper()
	return certificates.ReadPool(acmeca.CAFile())
}

// OrderOf returns the order of a certificate.
func OrderOf(ctx context.Context, cluster client.Client, certificate *x509.Certificate) v1alpha1.AcmeOrder {
	GinkgoHelper()
	var orders v1alpha1.AcmeOrderList
	Expect(cluster.List(ctx, &orders)).To(Succeed())
	for _, order := range orders.Items {
		if text := []byte(order.Status.Certificate); len(text) > 0 && certificates.Parse(text)[0].Equal(certificate) {
			return order
		}
	}
	Fail("no AcmeOrder has the certificate")
	return v1alpha1.AcmeOrder{}
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
