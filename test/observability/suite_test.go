// Package observability tests the running operator's metrics, probes and traces.
package observability

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/internal/test/http01"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/test/internal/suite"
)

func TestObservability(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "Observability")
}

var (
	acmeca    *local.Local
	responder *http01.Responder
	collected *traces
)

var _ = BeforeSuite(func(ctx SpecContext) {
	collected = collectTraces()
	acmeca = suite.Start(ctx)
	var err error
	responder, err = http01.Start(acmeca.Ports().HTTP01)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(responder.Stop)
})

var _ = suite.ShowLog(&acmeca)

// client returns an ACME client with its own account.
type client struct {
	acmez.Client
	account acme.Account
}

func newClient(ctx context.Context) *client {
	GinkgoHelper()
	text, err := os.ReadFile(acmeca.CAFile())
	Expect(err).NotTo(HaveOccurred())
	roots := x509.NewCertPool()
	Expect(roots.AppendCertsFromPEM(text)).To(BeTrue())
	c := &client{Client: acmez.Client{
		Client: &acme.Client{
			Directory:  acmeca.DirectoryURL(),
			HTTPClient: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}},
		},
		ChallengeSolvers: map[string]acmez.Solver{acme.ChallengeTypeHTTP01: responder},
	}}
	c.account, err = c.NewAccount(ctx, acme.Account{TermsOfServiceAgreed: true, PrivateKey: newKey()})
	Expect(err).NotTo(HaveOccurred())
	return c
}

func newKey() *ecdsa.PrivateKey {
	GinkgoHelper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	Expect(err).NotTo(HaveOccurred())
	return key
}

// obtain gets a certificate.
func (c *client) obtain(ctx context.Context, names ...string) *x509.Certificate {
	GinkgoHelper()
	chains, err := c.ObtainCertificateForSANs(ctx, c.account, newKey(), names)
	Expect(err).NotTo(HaveOccurred())
	block, _ := pem.Decode(chains[0].ChainPEM)
	Expect(block).NotTo(BeNil())
	certificate, err := x509.ParseCertificate(block.Bytes)
	Expect(err).NotTo(HaveOccurred())
	return certificate
}

// get returns the body and status of an answer.
func get(ctx context.Context, url string) (status int, body string) {
	GinkgoHelper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	Expect(err).NotTo(HaveOccurred())
	response, err := http.DefaultClient.Do(request)
	Expect(err).NotTo(HaveOccurred())
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	Expect(err).NotTo(HaveOccurred())
	return response.StatusCode, string(text)
}
