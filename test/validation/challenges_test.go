package validation

import (
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	xacme "golang.org/x/crypto/acme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/test/internal/certificates"
	"github.com/acmeca/acmeca/test/internal/named"
)

// These specs use one order and one issuer with all challenges: bind9 for DNS, nginx for HTTP, and a TLS server.
var _ = Describe("All challenges", Ordered, func() {
	needPrograms("named", "bind9", "nsupdate", "dnsutils", "nginx", "nginx")
	var zone *named.Server
	var web webServer
	var i issuer
	var tlsPort string
	BeforeAll(func(ctx SpecContext) {
		if pathOf("named") == "" || pathOf("nginx") == "" {
			return // the specs report it
		}
		zone, web = named.Start("all.test"), startWebServer()
		port := freePort()
		tlsPort = strconv.Itoa(port)
		i = newIssuer(ctx, "all", func(spec *v1alpha1.AcmeIssuerSpec) {
			spec.Challenges.Types = []acme.ChallengeType{acme.HTTP01, acme.DNS01, acme.TLSALPN01, acme.DNSAccount01, acme.DNSPersist01}
			spec.Policy.IP.Allow = []string{"127.0.0.0/8"}
			spec.Validation.Resolvers = []string{zone.Address()}
			spec.Validation.HTTPPort, spec.Validation.TLSPort = int32(web.port), int32(port)
			spec.Validation.CAAIdentities = []string{"CA.all.test"}
		})
	})

	It("prove the names of one order, each by another type", func(ctx SpecContext) {
		a := register(ctx, i)
		order := a.order(ctx, xacme.DomainIDs("http.all.test", "tls.all.test", "*.dns.all.test"))

		c, authz := a.challenge(ctx, order, "http.all.test", "http-01")
		web.put(a.HTTP01ChallengePath(c.Token), a.keyAuthorization(c.Token)+"\n")
		Expect(a.accept(ctx, c, authz)).To(Succeed())

		c, authz = a.challenge(ctx, order, "tls.all.test", "tls-alpn-01")
		respondTLS("127.0.0.1:"+tlsPort, "tls.all.test", a.keyAuthorization(c.Token))
		Expect(a.accept(ctx, c, authz)).To(Succeed())

		c, authz = a.challenge(ctx, order, "dns.all.test", "dns-01")
		zone.AddTXT(ctx, "_acme-challenge.dns.all.test", acme.DNS01Digest(a.keyAuthorization(c.Token)))
		Expect(a.accept(ctx, c, authz)).To(Succeed())

		Expect(a.finish(ctx, order, "http.all.test", "tls.all.test", "*.dns.all.test")).To(Succeed())
	}, SpecTimeout(time.Minute))

	It("prove addresses by http-01 and tls-alpn-01 (RFC 8738)", func(ctx SpecContext) {
		a := register(ctx, i)
		order := a.order(ctx, xacme.IPIDs("127.0.0.1", "127.0.0.2"))
		_, authz := a.challenge(ctx, order, "127.0.0.1", "http-01")
		for _, c := range authz.Challenges {
			Expect(c.Type).To(BeElementOf("http-01", "tls-alpn-01"), "RFC 8738 section 7")
		}

		c, authz := a.challenge(ctx, order, "127.0.0.1", "http-01")
		web.put(a.HTTP01ChallengePath(c.Token), a.keyAuthorization(c.Token))
		Expect(a.accept(ctx, c, authz)).To(Succeed())

		c, authz = a.challenge(ctx, order, "127.0.0.2", "tls-alpn-01")
		respondTLS("127.0.0.2:"+tlsPort, "127.0.0.2", a.keyAuthorization(c.Token))
		Expect(a.accept(ctx, c, authz)).To(Succeed())

		Expect(a.finish(ctx, order, "127.0.0.1", "127.0.0.2")).To(Succeed())
	}, SpecTimeout(time.Minute))

	It("do not prove addresses outside the policy", func(ctx SpecContext) {
		_, err := register(ctx, i).AuthorizeOrder(ctx, xacme.IPIDs("10.0.0.1"))
		Expect(err).To(MatchError(ContainSubstring(string(acme.RejectedIdentifier))))
	}, SpecTimeout(time.Minute))

	It("prove a wildcard at an account's own name by dns-account-01", func(ctx SpecContext) {
		a, other := register(ctx, i), register(ctx, i)
		order := a.order(ctx, xacme.DomainIDs("*.account.all.test"))
		c, authz := a.challenge(ctx, order, "account.all.test", "dns-account-01")
		digest := acme.DNS01Digest(a.keyAuthorization(c.Token))
		zone.AddTXT(ctx, acme.AccountLabel(a.url)+"._acme-challenge.account.all.test", digest)
		Expect(a.accept(ctx, c, authz)).To(Succeed())
		Expect(a.finish(ctx, order, "*.account.all.test")).To(Succeed())

		order = other.order(ctx, xacme.DomainIDs("account.all.test"))
		c, authz = other.challenge(ctx, order, "account.all.test", "dns-account-01")
		Expect(other.accept(ctx, c, authz)).NotTo(Succeed())
	}, SpecTimeout(time.Minute))

	It("prove names repeatedly by the same record of dns-persist-01, which stays valid after a key change", func(ctx SpecContext) {
		a := register(ctx, i)
		meta := a.meta(ctx)
		Expect(meta).To(HaveKeyWithValue("issuerDomainNames", ConsistOf("ca.all.test")))
		thumbprint, err := xacme.JWKThumbprint(a.key.Public())
		Expect(err).NotTo(HaveOccurred())
		until := time.Now().Add(time.Hour).Unix()
		uri := acme.HashedAccountURI(meta["accountHashPrefix"].(string), "persist.all.test", thumbprint, a.url)
		zone.AddTXT(ctx, "_validation-persist.persist.all.test", fmt.Sprintf("ca.all.test; accounturi=%s; policy=wildcard; persistUntil=%d", uri, until))

		for n, name := range []string{"persist.all.test", "*.persist.all.test"} {
			order := a.order(ctx, xacme.DomainIDs(name))
			c, authz := a.challenge(ctx, order, "persist.all.test", "dns-persist-01")
			Expect(c.Token).To(BeEmpty())
			Expect(a.accept(ctx, c, authz)).To(Succeed())
			Expect(a.finish(ctx, order, name)).To(Succeed())
			for _, authz := range authorizationsFor(ctx, i, "persist.all.test") {
				Expect(authz.Status.Expires.Unix()).To(Equal(until), "no proof outlasts persistUntil")
			}
			if n == 0 {
				Expect(a.AccountKeyRollover(ctx, certificates.NewKey())).To(Succeed())
			}
		}
	}, SpecTimeout(time.Minute))

	It("do not prove another account's names by its record", func(ctx SpecContext) {
		a := register(ctx, i)
		order := a.order(ctx, xacme.DomainIDs("persist.all.test"))
		c, authz := a.challenge(ctx, order, "persist.all.test", "dns-persist-01")
		Expect(a.accept(ctx, c, authz)).To(MatchError(ContainSubstring("names another account")))
	}, SpecTimeout(time.Minute))

	It("do not accept one account's key authorization for another account's challenge", func(ctx SpecContext) {
		a, other := register(ctx, i), register(ctx, i)
		order := a.order(ctx, xacme.DomainIDs("http.all.test"))
		c, authz := a.challenge(ctx, order, "http.all.test", "http-01")
		web.put(a.HTTP01ChallengePath(c.Token), other.keyAuthorization(c.Token))
		Expect(a.accept(ctx, c, authz)).To(MatchError(ContainSubstring("something other than the key authorization")))
	}, SpecTimeout(time.Minute))

	It("are retried while a name server or web server starts, and show the last error", func(ctx SpecContext) {
		port := freePort()
		late := newIssuer(ctx, "late", func(spec *v1alpha1.AcmeIssuerSpec) {
			spec.Validation.Resolvers = []string{zone.Address()}
			spec.Validation.TLSPort = int32(port)
		})
		a := register(ctx, late)
		order := a.order(ctx, xacme.DomainIDs("late.all.test"))
		c, authz := a.challenge(ctx, order, "late.all.test", "tls-alpn-01")
		_, err := a.Accept(ctx, c)
		Expect(err).NotTo(HaveOccurred())
		Eventually(func(g Gomega) {
			seen, err := a.GetChallenge(ctx, c.URI)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(seen.Status).To(Equal("processing"))
			g.Expect(seen.Error).To(MatchError(ContainSubstring("connection refused")))
		}, "10s", "20ms").Should(Succeed())
		respondTLS("127.0.0.1:"+strconv.Itoa(port), "late.all.test", a.keyAuthorization(c.Token))
		_, err = a.WaitAuthorization(ctx, authz.URI)
		Expect(err).NotTo(HaveOccurred())
		Expect(a.finish(ctx, order, "late.all.test")).To(Succeed())
		Expect(authorizationsFor(ctx, late, "late.all.test")[0].Status.Challenge.Attempts).To(BeNumerically(">", 1))
	}, SpecTimeout(time.Minute))
})

var _ = Describe("A controller that crashes while a challenge is processing", func() {
	It("continues after its restart", func(ctx SpecContext) {
		port := freePort()
		i := newIssuer(ctx, "restarted", func(spec *v1alpha1.AcmeIssuerSpec) {
			spec.Validation.Resolvers = []string{"127.0.0.1:" + strconv.Itoa(acmeca.Ports().DNS)}
			spec.Validation.TLSPort = int32(port)
		})
		a := register(ctx, i)
		order := a.order(ctx, xacme.DomainIDs("restarted.test"))
		c, authz := a.challenge(ctx, order, "restarted.test", "tls-alpn-01")
		_, err := a.Accept(ctx, c)
		Expect(err).NotTo(HaveOccurred())
		Eventually(func(g Gomega) {
			shown, err := a.GetChallenge(ctx, c.URI)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(shown.Error).To(HaveOccurred())
		}, "10s", "20ms").Should(Succeed())
		acmeca.KillOperator()
		respondTLS("127.0.0.1:"+strconv.Itoa(port), "restarted.test", a.keyAuthorization(c.Token))
		Expect(acmeca.StartOperator(ctx)).To(Succeed())
		_, err = a.WaitAuthorization(ctx, authz.URI)
		Expect(err).NotTo(HaveOccurred())
		Expect(a.finish(ctx, order, "restarted.test")).To(Succeed())
	}, SpecTimeout(time.Minute))
})

// SECURITY.md row 14. Tests of controllers cover the age of a check. Here, a missing check stands for an old one.
var _ = Describe("CAA before issuance", Ordered, func() {
	named.Need()
	var zone *named.Server
	var i issuer
	BeforeAll(func(ctx SpecContext) {
		if pathOf("named") == "" {
			return // the specs report it
		}
		zone = named.Start("caa.test")
		i = newIssuer(ctx, "caa", func(spec *v1alpha1.AcmeIssuerSpec) {
			spec.Validation.Resolvers = []string{zone.Address()}
			spec.Validation.CAAIdentities = []string{"ca.caa.test"}
		})
	})

	// authorized returns an order whose names were validated before CAA was enabled.
	authorized := func(ctx SpecContext, a *account, names ...string) *xacme.Order {
		GinkgoHelper()
		i.change(ctx, func(spec *v1alpha1.AcmeIssuerSpec) { spec.Validation.CAA = v1alpha1.CAAOff })
		order := a.order(ctx, xacme.DomainIDs(names...))
		for _, name := range names {
			c, authz := a.challenge(ctx, order, name, "dns-01")
			zone.AddTXT(ctx, "_acme-challenge."+name, acme.DNS01Digest(a.keyAuthorization(c.Token)))
			Expect(a.accept(ctx, c, authz)).To(Succeed())
		}
		i.change(ctx, func(spec *v1alpha1.AcmeIssuerSpec) { spec.Validation.CAA = v1alpha1.CAAEnforce })
		return order
	}

	It("is checked for every name, and one forbidding record ends the order", func(ctx SpecContext) {
		zone.Update(ctx, `add caa.test. 1 CAA 0 issue "ca.caa.test"`)
		a := register(ctx, i)
		order := authorized(ctx, a, "a.caa.test", "b.caa.test", "c.caa.test")
		zone.Update(ctx, `add b.caa.test. 1 CAA 0 issue "other.test"`)
		err := a.finish(ctx, order, "a.caa.test", "b.caa.test", "c.caa.test")
		Expect(err).To(MatchError(ContainSubstring(`"b.caa.test" forbid issuance`)))
	}, SpecTimeout(time.Minute))

	It("lets the order finish if all records permit it", func(ctx SpecContext) {
		a := register(ctx, i)
		order := authorized(ctx, a, "d.caa.test", "e.caa.test")
		Expect(a.finish(ctx, order, "d.caa.test", "e.caa.test")).To(Succeed())
	}, SpecTimeout(time.Minute))

	It("is not assumed while DNS is unreachable", func(ctx SpecContext) {
		a := register(ctx, i)
		order := authorized(ctx, a, "f.caa.test")
		i.change(ctx, func(spec *v1alpha1.AcmeIssuerSpec) {
			spec.Validation.Resolvers = []string{"127.0.0.1:1"}
		})
		csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"f.caa.test"}}, certificates.NewKey())
		Expect(err).NotTo(HaveOccurred())
		go func() { _, _, _ = a.CreateOrderCert(ctx, order.FinalizeURL, csr, false) }() // the call waits for the end, which takes longer
		Eventually(func(g Gomega) {
			var orders v1alpha1.AcmeOrderList
			g.Expect(cluster.List(ctx, &orders, client.InNamespace(i.Namespace))).To(Succeed())
			for _, o := range orders.Items {
				if o.Spec.Identifiers[0].Value == "f.caa.test" {
					g.Expect(o.Status.Certificate).To(BeEmpty())
					g.Expect(o.Status.Conditions).To(ContainElement(And(
						HaveField("Reason", v1alpha1.ReasonCheckingCAA), HaveField("Message", ContainSubstring("connection refused")))))
				}
			}
		}, "20s", "100ms").Should(Succeed())
		// The order continues by itself once DNS is reachable again.
		i.change(ctx, func(spec *v1alpha1.AcmeIssuerSpec) { spec.Validation.Resolvers = []string{zone.Address()} })
		_, err = a.WaitOrder(ctx, order.URI)
		Expect(err).NotTo(HaveOccurred())
	}, SpecTimeout(time.Minute))
})
