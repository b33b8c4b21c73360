// Package run tests acmeca's recovery from crashes, and the program behind `make run`.
package run

import (
	"crypto/x509"
	"os"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/internal/test/local"
)

func TestRun(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "Run")
}

// rootsOf returns the roots that a client of the issuer must trust.
func rootsOf(acmeca *local.Local) *x509.CertPool {
	GinkgoHelper()
	text, err := os.ReadFile(acmeca.CAFile())
	Expect(err).NotTo(HaveOccurred())
	roots := x509.NewCertPool()
	Expect(roots.AppendCertsFromPEM(text)).To(BeTrue())
	return roots
}
