// Package run tests acmeca as a whole in the face of crashes, and the program behind `make run`.
package run

import (
	"crypto/x509"
	"os"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/hack/run/local"
)

func TestRun(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "Run")
}

// clusterOf is a client of the API server with every right.
func clusterOf(acmeca *local.Local) client.Client {
	GinkgoHelper()
	scheme := runtime.NewScheme()
	Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	cluster, err := client.New(acmeca.Plane().Config(), client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	return cluster
}

// rootsOf is what a client of the issuer has to trust.
func rootsOf(acmeca *local.Local) *x509.CertPool {
	GinkgoHelper()
	text, err := os.ReadFile(acmeca.CAFile())
	Expect(err).NotTo(HaveOccurred())
	roots := x509.NewCertPool()
	Expect(roots.AppendCertsFromPEM(text)).To(BeTrue())
	return roots
}
