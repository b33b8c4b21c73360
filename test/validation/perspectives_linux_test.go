package validation

import (
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/crypto/acme"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// These specs use three validators, each in its own network, in which the name resolves to its own server.
var _ = Describe("Several perspectives", Ordered, func() {
	needNamespaces()
	const name, port = "site.test", 5002
	var i issuer
	var places [3]*site // seen from each place
	var here *site      // seen by the controller
	var start func()    // starts the third validator
	var issuerOf func(ctx SpecContext, label string, quorum int32, perspectives ...v1alpha1.Perspective) issuer
	var perspectives []v1alpha1.Perspective
	var p *pki

	BeforeAll(func(ctx SpecContext) {
		program := buildAcmeca(ctx)
		p = newPKI()
		secret := p.clientSecret(ctx, "perspectives", controllerName)
		for n, label := range []string{"north", "east", "south"} {
			in := newNamespace(ctx, label)
			theirs, _ := in.link(ctx, nil)
			serveDNS(in, "127.0.0.1:53", map[string]string{name: "127.0.0.1"})
			places[n] = &site{}
			places[n].serve(in, "127.0.0.1:"+strconv.Itoa(port))
			run := func() {
				startValidator(program, p, in, theirs, "--resolver", "127.0.0.1:53", "--allow", "127.0.0.0/8", "--http-port", strconv.Itoa(port))
			}
			if n == 2 {
				start = run
			} else {
				run()
			}
			perspectives = append(perspectives, perspectiveAt(label, theirs, p, secret))
		}
		here = &site{}
		herePort := freePort()
		here.serve(nil, "127.0.0.1:"+strconv.Itoa(herePort))
		issuerOf = func(ctx SpecContext, label string, quorum int32, perspectives ...v1alpha1.Perspective) issuer {
			return newIssuer(ctx, label, func(spec *v1alpha1.AcmeIssuerSpec) {
				spec.Validation.Resolvers = []string{"127.0.0.1:" + strconv.Itoa(acmeca.Ports().DNS)}
				spec.Validation.HTTPPort = int32(herePort)
				spec.Validation.Perspectives, spec.Validation.Quorum = perspectives, quorum
			})
		}
	})

	// begin orders a certificate, with the proof at the given sites.
	begin := func(ctx SpecContext, at ...*site) (*account, *acme.Order, *acme.Challenge, *acme.Authorization) {
		GinkgoHelper()
		a := register(ctx, i)
		order := a.order(ctx, acme.DomainIDs(name))
		c, authz := a.challenge(ctx, order, name, "http-01")
		for _, s := range at {
			s.put(a.HTTP01ChallengePath(c.Token), a.keyAuthorization(c.Token))
		}
		return a, order, c, authz
	}
	// seen returns the result of each perspective, by name.
	seen := func(ctx SpecContext) map[string]v1alpha1.PerspectiveRecord {
		GinkgoHelper()
		records := map[string]v1alpha1.PerspectiveRecord{}
		authorizations := authorizationsFor(ctx, i, name)
		newest := authorizations[0]
		for _, authz := range authorizations {
			if authz.CreationTimestamp.After(newest.CreationTimestamp.Time) || authz.Status.Challenge != nil && newest.Status.Challenge == nil {
				newest = authz
			}
		}
		for _, r := range newest.Status.Challenge.Record.Perspectives {
			records[r.Name] = r
		}
		return records
	}

	It("confirm the controller's result, even if one of them is down", func(ctx SpecContext) {
		i = issuerOf(ctx, "two-of-three", 2, perspectives...)
		a, order, c, authz := begin(ctx, here, places[0], places[1])
		Expect(a.accept(ctx, c, authz)).To(Succeed())
		Expect(a.finish(ctx, order, name)).To(Succeed())
		records := seen(ctx)
		for _, label := range []string{"north", "east"} {
			Expect(records[label].Valid).To(BeTrue())
			Expect(records[label].AddressUsed).To(Equal("127.0.0.1:5002"))
			Expect(records[label].Resolver).To(Equal("127.0.0.1:53"))
		}
	}, SpecTimeout(time.Minute))

	It("refuse a proof that only the controller and one of them see, as after a hijack near the controller", func(ctx SpecContext) {
		i = issuerOf(ctx, "hijacked", 2, perspectives[:2]...)
		a, _, c, authz := begin(ctx, here, places[0])
		Expect(a.accept(ctx, c, authz)).To(MatchError(And(
			ContainSubstring("confirmed from 1 of 2 perspectives, 2 are needed"), ContainSubstring(`from "east"`), ContainSubstring("HTTP status 404"))))
		records := seen(ctx)
		Expect(records["north"].Valid).To(BeTrue())
		Expect(records["east"].Valid).To(BeFalse())
		Expect(records["east"].Problem).To(ContainSubstring("404"))
	}, SpecTimeout(time.Minute))

	It("refuse a proof that they see and the controller does not", func(ctx SpecContext) {
		i = issuerOf(ctx, "elsewhere", 2, perspectives[:2]...)
		a, _, c, authz := begin(ctx, places[0], places[1])
		Expect(a.accept(ctx, c, authz)).To(MatchError(ContainSubstring("HTTP status 404")))
	}, SpecTimeout(time.Minute))

	It("are awaited while a needed one is down, with the reason shown only in kubectl", func(ctx SpecContext) {
		i = issuerOf(ctx, "all-three", 0, perspectives...)
		a, order, c, authz := begin(ctx, here, places[0], places[1], places[2])
		_, err := a.Accept(ctx, c)
		Expect(err).NotTo(HaveOccurred())
		Eventually(func(g Gomega) {
			shown, err := a.GetChallenge(ctx, c.URI)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(shown.Status).To(Equal("processing"))
			g.Expect(shown.Error).To(MatchError(ContainSubstring(`from "south": the perspective is unavailable`)))
			g.Expect(shown.Error).NotTo(MatchError(ContainSubstring("refused")))
		}, "10s", "20ms").Should(Succeed())
		Expect(seen(ctx)["south"].Problem).To(ContainSubstring("connection refused"))
		start()
		_, err = a.WaitAuthorization(ctx, authz.URI)
		Expect(err).NotTo(HaveOccurred())
		Expect(a.finish(ctx, order, name)).To(Succeed())
	}, SpecTimeout(time.Minute))

	DescribeTable("refuse", func(ctx SpecContext, name, certified string, authority func() *pki) {
		wrong := perspectives[0]
		wrong.ClientCertificateSecretRef = authority().clientSecret(ctx, name, certified)
		i = issuerOf(ctx, name, 0, wrong)
		a, _, c, authz := begin(ctx, here, places[0])
		_, err := a.Accept(ctx, c)
		Expect(err).NotTo(HaveOccurred())
		Eventually(func(g Gomega) {
			shown, err := a.GetChallenge(ctx, c.URI)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(shown.Error).To(MatchError(ContainSubstring("perspective is unavailable")))
		}, "10s", "20ms").Should(Succeed())
		Expect(a.RevokeAuthorization(ctx, authz.URI)).To(Succeed())
	},
		Entry("a controller with a certificate of another authority", SpecTimeout(time.Minute), "stranger", controllerName, newPKI),
		Entry("a controller with another name, certified by the same authority", SpecTimeout(time.Minute), "namesake", "another.acmeca.test", func() *pki { return p }),
	)
})
