// Package observability tests the running operator's metrics, probes and traces.
package observability

import (
	"context"
	"crypto/x509"
	"io"
	"net/http"
	"testing"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/internal/test/http01"
	"github.com/acmeca/acmeca/internal/test/keyservice"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/test/internal/certificates"
	"github.com/acmeca/acmeca/test/internal/suite"
)

func TestObservability(t *testing.T) { suite.Run(t, "Observability") }

var (
	acmeca    *local.Local
	responder *http01.Responder
	collected *traces
)

var _ = BeforeSuite(func(ctx SpecContext) {
	collected = collectTraces()
	keys, err := keyservice.New()
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(keys.Close)
	acmeca = suite.Start(ctx, "--key-service", keys.Socket, "--pod-certificates")
	responder = suite.Respond(acmeca.Ports().HTTP01)
})

var _ = suite.ShowLog(&acmeca)

// client returns an ACME client with its own account.
type client struct {
	acmez.Client
	account acme.Account
}

func newClient(ctx context.Context) *client {
	GinkgoHelper()
	c := &client{Client: acmez.Client{
		Client: &acme.Client{
			Directory:  acmeca.DirectoryURL(),
			HTTPClient: certificates.HTTPClient(suite.Roots(acmeca)),
		},
		ChallengeSolvers: map[string]acmez.Solver{acme.ChallengeTypeHTTP01: responder},
	}}
	var err error
	c.account, err = c.NewAccount(ctx, acme.Account{TermsOfServiceAgreed: true, PrivateKey: certificates.NewKey()})
	Expect(err).NotTo(HaveOccurred())
	return c
}

// obtain gets a certificate.
func (c *client) obtain(ctx context.Context, names ...string) *x509.Certificate {
	GinkgoHelper()
	chains, err := c.ObtainCertificateForSANs(ctx, c.account, certificates.NewKey(), names)
	Expect(err).NotTo(HaveOccurred())
	return certificates.Parse(chains[0].ChainPEM)[0]
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
