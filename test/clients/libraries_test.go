package clients

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"strings"
	"time"

	"github.com/mholt/acmez/v3"
	acmezacme "github.com/mholt/acmez/v3/acme"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	xacme "golang.org/x/crypto/acme"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/internal/test/http01"
	"github.com/acmeca/acmeca/test/internal/certificates"
	"github.com/acmeca/acmeca/test/internal/suite"
)

// keys generates keys, by kind.
var keys = map[string]func() crypto.Signer{
	"RSA-2048": func() crypto.Signer { return generated(rsa.GenerateKey(rand.Reader, 2048)) },
	"P-256":    func() crypto.Signer { return generated(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) },
	"P-384":    func() crypto.Signer { return generated(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)) },
	"Ed25519": func() crypto.Signer {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return generated(key, err)
	},
}

func generated[K crypto.Signer](key K, err error) crypto.Signer {
	GinkgoHelper()
	Expect(err).NotTo(HaveOccurred())
	return key
}

var _ = Describe("golang.org/x/crypto/acme", func() {
	obtain := func(ctx context.Context, accountKey, certificateKey crypto.Signer, names ...string) []*x509.Certificate {
		GinkgoHelper()
		responder := suite.Respond(acmeca.Ports().HTTP01)
		c := &xacme.Client{Key: accountKey, DirectoryURL: acmeca.DirectoryURL(), HTTPClient: certificates.HTTPClient(suite.Roots(acmeca))}
		_, err := c.Register(ctx, &xacme.Account{Contact: []string{"mailto:go@" + names[0]}}, xacme.AcceptTOS)
		Expect(err).NotTo(HaveOccurred())
		order, err := c.AuthorizeOrder(ctx, xacme.DomainIDs(names...))
		Expect(err).NotTo(HaveOccurred())
		for _, url := range order.AuthzURLs {
			acceptHTTP01(ctx, c, responder, url)
		}
		_, err = c.WaitOrder(ctx, order.URI)
		Expect(err).NotTo(HaveOccurred())
		csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, certificateKey)
		Expect(err).NotTo(HaveOccurred())
		ders, _, err := c.CreateOrderCert(ctx, order.FinalizeURL, csr, true)
		Expect(err).NotTo(HaveOccurred())
		var chain []*x509.Certificate
		for _, der := range ders {
			certificate, err := x509.ParseCertificate(der)
			Expect(err).NotTo(HaveOccurred())
			chain = append(chain, certificate)
		}
		return chain
	}

	DescribeTable("obtains a certificate",
		func(ctx SpecContext, accountKey, certificateKey string) {
			name := "x-" + strings.ToLower(accountKey+"-"+certificateKey) + ".test"
			key := keys[certificateKey]()
			chain := obtain(ctx, keys[accountKey](), key, name)
			verify(chain, name)
			Expect(chain[0].PublicKey).To(Equal(key.Public()))
			Expect(suite.OrderOf(ctx, cluster, chain[0]).Status.State).To(Equal(acme.StateValid))
		},
		Entry("account RSA, certificate RSA", SpecTimeout(time.Minute), "RSA-2048", "RSA-2048"),
		Entry("account P-256, certificate P-256", SpecTimeout(time.Minute), "P-256", "P-256"),
		Entry("account P-384, certificate Ed25519", SpecTimeout(time.Minute), "P-384", "Ed25519"),
	)

	It("obtains a certificate with several names", func(ctx SpecContext) {
		names := []string{"x1.test", "x2.test", "sub.x1.test"}
		verify(obtain(ctx, keys["P-256"](), keys["P-256"](), names...), names...)
	}, SpecTimeout(time.Minute))
})

// acceptHTTP01 completes an authorization's http-01 challenge.
func acceptHTTP01(ctx context.Context, c *xacme.Client, responder *http01.Responder, url string) {
	GinkgoHelper()
	authorization, err := c.GetAuthorization(ctx, url)
	Expect(err).NotTo(HaveOccurred())
	for _, challenge := range authorization.Challenges {
		if challenge.Type != "http-01" {
			continue
		}
		response, err := c.HTTP01ChallengeResponse(challenge.Token)
		Expect(err).NotTo(HaveOccurred())
		responder.Put(challenge.Token, response)
		_, err = c.Accept(ctx, challenge)
		Expect(err).NotTo(HaveOccurred())
		_, err = c.WaitAuthorization(ctx, url)
		Expect(err).NotTo(HaveOccurred())
		return
	}
	Fail("http-01 is not offered")
}

var _ = Describe("github.com/mholt/acmez", func() {
	DescribeTable("obtains a certificate, and another one with the same account",
		func(ctx SpecContext, accountKey, certificateKey string) {
			c := acmez.Client{
				Client:           &acmezacme.Client{Directory: acmeca.DirectoryURL(), HTTPClient: certificates.HTTPClient(suite.Roots(acmeca))},
				ChallengeSolvers: map[string]acmez.Solver{acmezacme.ChallengeTypeHTTP01: suite.Respond(acmeca.Ports().HTTP01)},
			}
			account, err := c.NewAccount(ctx, acmezacme.Account{
				Contact: []string{"mailto:z@acmez.test"}, TermsOfServiceAgreed: true, PrivateKey: keys[accountKey](),
			})
			Expect(err).NotTo(HaveOccurred())
			name := "z-" + strings.ToLower(accountKey+"-"+certificateKey) + ".test"
			for _, names := range [][]string{{name}, {name, "www." + name}} {
				key := keys[certificateKey]()
				chains, err := c.ObtainCertificateForSANs(ctx, account, key, names)
				Expect(err).NotTo(HaveOccurred())
				chain := certificates.Parse(chains[0].ChainPEM)
				verify(chain, names...)
				Expect(chain[0].PublicKey).To(Equal(key.Public()))
			}
		},
		Entry("account P-256, certificate P-384", SpecTimeout(time.Minute), "P-256", "P-384"),
		Entry("account RSA, certificate P-256", SpecTimeout(time.Minute), "RSA-2048", "P-256"),
	)

	It("reads renewal information, and renews with an order that names the replaced certificate (RFC 9773)", func(ctx SpecContext) {
		c := acmez.Client{
			Client:           &acmezacme.Client{Directory: acmeca.DirectoryURL(), HTTPClient: certificates.HTTPClient(suite.Roots(acmeca))},
			ChallengeSolvers: map[string]acmez.Solver{acmezacme.ChallengeTypeHTTP01: suite.Respond(acmeca.Ports().HTTP01)},
		}
		account, err := c.NewAccount(ctx, acmezacme.Account{TermsOfServiceAgreed: true, PrivateKey: keys["P-256"]()})
		Expect(err).NotTo(HaveOccurred())
		const name = "z-ari.test"
		obtain := func(replaced *x509.Certificate) *x509.Certificate {
			GinkgoHelper()
			csr, err := acmez.NewCSR(keys["P-256"](), []string{name})
			Expect(err).NotTo(HaveOccurred())
			parameters, err := acmez.OrderParametersFromCSR(account, csr)
			Expect(err).NotTo(HaveOccurred())
			parameters.Replaces = replaced
			chains, err := c.ObtainCertificate(ctx, parameters)
			Expect(err).NotTo(HaveOccurred())
			return certificates.Parse(chains[0].ChainPEM)[0]
		}
		first := obtain(nil)
		info, err := c.GetRenewalInfo(ctx, first)
		Expect(err).NotTo(HaveOccurred())
		Expect(info.SuggestedWindow.Start).To(BeTemporally(">", time.Now()))
		Expect(info.SuggestedWindow.End).To(And(BeTemporally(">", info.SuggestedWindow.Start), BeTemporally("<", first.NotAfter)))

		second := obtain(first)
		replaced := suite.OrderOf(ctx, cluster, first)
		Expect(suite.OrderOf(ctx, cluster, second).Spec.Replaces).To(Equal(replaced.CertificateID()))
		Expect(c.RevokeCertificate(ctx, account, second, account.PrivateKey, acmezacme.ReasonSuperseded)).To(Succeed())
		info, err = c.GetRenewalInfo(ctx, second)
		Expect(err).NotTo(HaveOccurred())
		Expect(info.SuggestedWindow.End).To(BeTemporally("<=", time.Now()), "immediately")
	}, SpecTimeout(time.Minute))
})
