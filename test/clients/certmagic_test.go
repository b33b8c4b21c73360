package clients

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/caddyserver/certmagic"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"go.uber.org/zap"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/test/internal/suite"
)

// This tests certmagic, the library that Caddy uses for certificates.
var _ = Describe("github.com/caddyserver/certmagic", func() {
	// magicFor returns certmagic with an empty state and one challenge type.
	magicFor := func(challenge acme.ChallengeType) *certmagic.Config {
		GinkgoHelper()
		var config *certmagic.Config
		cache := certmagic.NewCache(certmagic.CacheOptions{
			GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return config, nil }, Logger: zap.NewNop(),
		})
		DeferCleanup(cache.Stop)
		config = certmagic.New(cache, certmagic.Config{Storage: &certmagic.FileStorage{Path: GinkgoT().TempDir()}, Logger: zap.NewNop()})
		config.Issuers = []certmagic.Issuer{certmagic.NewACMEIssuer(config, certmagic.ACMEIssuer{
			CA: acmeca.DirectoryURL(), TrustedRoots: suite.Roots(acmeca), Email: "admin@magic.test", Agreed: true, Logger: zap.NewNop(),
			ListenHost: "127.0.0.1", AltHTTPPort: acmeca.Ports().HTTP01, AltTLSALPNPort: acmeca.Ports().TLSALPN01,
			DisableHTTPChallenge: challenge != acme.HTTP01, DisableTLSALPNChallenge: challenge != acme.TLSALPN01,
		})}
		return config
	}

	DescribeTable("obtains a certificate, serves it, renews it, names the replaced one, and revokes it",
		func(ctx SpecContext, challenge acme.ChallengeType) {
			magic, name := magicFor(challenge), fmt.Sprintf("%s.magic.test", challenge)
			served := func() *x509.Certificate {
				GinkgoHelper()
				_, err := magic.CacheManagedCertificate(ctx, name)
				Expect(err).NotTo(HaveOccurred())
				found, err := magic.GetCertificateWithContext(ctx, &tls.ClientHelloInfo{ServerName: name})
				Expect(err).NotTo(HaveOccurred())
				var chain []*x509.Certificate
				for _, der := range found.Certificate {
					certificate, err := x509.ParseCertificate(der)
					Expect(err).NotTo(HaveOccurred())
					chain = append(chain, certificate)
				}
				verify(chain, name)
				return chain[0]
			}
			Expect(magic.ObtainCertSync(ctx, name)).To(Succeed())
			first := served()
			order := suite.OrderOf(ctx, cluster, first)
			Expect(order.Status.State).To(Equal(acme.StateValid))
			Expect(accountOf(ctx, order).Status.Contact).To(ConsistOf("mailto:admin@magic.test"))

			Expect(magic.RenewCertSync(ctx, name, true)).To(Succeed())
			orders := ordersFor(ctx, name)
			Expect(orders).To(HaveLen(2))
			var replaces []string
			for _, o := range orders {
				Expect(o.Spec.AccountRef).To(Equal(order.Spec.AccountRef))
				replaces = append(replaces, o.Spec.Replaces)
			}
			Expect(replaces).To(ConsistOf("", order.CertificateID()))

			Expect(magic.RevokeCert(ctx, name, 4, false)).To(Succeed())
			var revoked int
			for _, o := range ordersFor(ctx, name) {
				if o.Status.RevokedAt != nil {
					revoked++
					Expect(o.Spec.Replaces).NotTo(BeEmpty(), "the renewed certificate")
					Expect(o.Spec.Revocation.Reason).To(Equal(4))
				}
			}
			Expect(revoked).To(Equal(1))
		},
		Entry("by http-01", SpecTimeout(time.Minute), acme.HTTP01),
		Entry("by tls-alpn-01", SpecTimeout(time.Minute), acme.TLSALPN01),
	)
})
