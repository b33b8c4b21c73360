// Package clients tests acmeca with the clients that people use: over the network, with a real control plane. The
// specs check the client's certificate and the resources that kubectl shows.
package clients

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"os"
	"slices"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/test/internal/programs"
	"github.com/acmeca/acmeca/test/internal/suite"
)

func TestClients(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "Clients")
}

var (
	acmeca  *local.Local
	cluster client.Client // with every right
)

var _ = BeforeSuite(func(ctx SpecContext) {
	acmeca = suite.Start(ctx)
	cluster = acmeca.Client()
})

var _ = suite.ShowLog(&acmeca)

// opensslVerify verifies a chain with openssl, which is independent of Go's verification.
func opensslVerify(ctx context.Context, chainFile, name string) {
	GinkgoHelper()
	programs.Run(ctx, nil, "openssl", "verify", "-CAfile", acmeca.CAFile(), "-untrusted", chainFile,
		"-purpose", "sslserver", "-verify_hostname", name, "-x509_strict", chainFile)
}

func readCertificate(file string) *x509.Certificate {
	GinkgoHelper()
	text, err := os.ReadFile(file)
	Expect(err).NotTo(HaveOccurred())
	return parseChain(text)[0]
}

func parseChain(text []byte) []*x509.Certificate {
	GinkgoHelper()
	var chain []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		Expect(block.Type).To(Equal("CERTIFICATE"))
		certificate, err := x509.ParseCertificate(block.Bytes)
		Expect(err).NotTo(HaveOccurred())
		chain = append(chain, certificate)
	}
	Expect(chain).NotTo(BeEmpty())
	return chain
}

func issuerRoots() *x509.CertPool {
	GinkgoHelper()
	text, err := os.ReadFile(acmeca.CAFile())
	Expect(err).NotTo(HaveOccurred())
	roots := x509.NewCertPool()
	Expect(roots.AppendCertsFromPEM(text)).To(BeTrue())
	return roots
}

// verifyChain verifies a chain as a TLS client does.
func verifyChain(chain []*x509.Certificate, names ...string) {
	GinkgoHelper()
	intermediates := x509.NewCertPool()
	for _, certificate := range chain[1:] {
		intermediates.AddCert(certificate)
	}
	for _, name := range names {
		_, err := chain[0].Verify(x509.VerifyOptions{DNSName: name, Roots: issuerRoots(), Intermediates: intermediates})
		Expect(err).NotTo(HaveOccurred())
	}
	Expect(chain[0].DNSNames).To(ConsistOf(names))
}

// listed returns the serial numbers in the CRL of a certificate, as served.
func listed(ctx context.Context, certificate *x509.Certificate) []*big.Int {
	GinkgoHelper()
	Expect(certificate.CRLDistributionPoints).To(HaveLen(1))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, certificate.CRLDistributionPoints[0], http.NoBody)
	Expect(err).NotTo(HaveOccurred())
	response, err := http.DefaultClient.Do(request)
	Expect(err).NotTo(HaveOccurred())
	defer response.Body.Close()
	der, err := io.ReadAll(response.Body)
	Expect(err).NotTo(HaveOccurred())
	crl, err := x509.ParseRevocationList(der)
	Expect(err).NotTo(HaveOccurred(), "%s", response.Status)
	var serials []*big.Int
	for _, entry := range crl.RevokedCertificateEntries {
		serials = append(serials, entry.SerialNumber)
	}
	return serials
}

// ordersFor returns the orders for exactly that name.
func ordersFor(ctx context.Context, name string) []v1alpha1.AcmeOrder {
	GinkgoHelper()
	var all v1alpha1.AcmeOrderList
	Expect(cluster.List(ctx, &all, client.InNamespace(local.Namespace))).To(Succeed())
	var orders []v1alpha1.AcmeOrder
	for _, order := range all.Items {
		named := func(id v1alpha1.Identifier) bool { return id.Value == name }
		if slices.ContainsFunc(order.Spec.Identifiers, named) {
			orders = append(orders, order)
		}
	}
	return orders
}

// orderWith returns the order of a certificate.
func orderWith(ctx context.Context, certificate *x509.Certificate) v1alpha1.AcmeOrder {
	GinkgoHelper()
	for _, order := range ordersFor(ctx, certificate.DNSNames[0]) {
		if chain := []byte(order.Status.Certificate); len(chain) > 0 && parseChain(chain)[0].Equal(certificate) {
			return order
		}
	}
	Fail("no AcmeOrder has the certificate")
	return v1alpha1.AcmeOrder{}
}

func accountOf(ctx context.Context, order v1alpha1.AcmeOrder) v1alpha1.AcmeAccount {
	GinkgoHelper()
	var account v1alpha1.AcmeAccount
	key := client.ObjectKey{Namespace: order.Namespace, Name: order.Spec.AccountRef.Name}
	Expect(cluster.Get(ctx, key, &account)).To(Succeed())
	return account
}
