package trust

import (
	"context"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	xacme "golang.org/x/crypto/acme"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/local"
)

// response returns the spec of an authorization after a client has accepted a challenge.
func response(t acme.ChallengeType, request *v1alpha1.SignedRequest) map[string]any {
	return map[string]any{"response": v1alpha1.ChallengeResponse{Type: t, Request: *request}}
}

// plantAuthorization makes a captured ACME server create an authorization with an http-01 challenge.
func plantAuthorization(ctx context.Context, issuer string, account *v1alpha1.AcmeAccount, name string, wildcard bool) *v1alpha1.AcmeAuthorization {
	GinkgoHelper()
	authorization := &v1alpha1.AcmeAuthorization{Spec: v1alpha1.AcmeAuthorizationSpec{
		IssuerRef:  v1alpha1.ObjectRef{Name: issuer},
		AccountRef: v1alpha1.ObjectRef{Name: account.Name},
		Identifier: v1alpha1.Identifier{Type: acme.DNS, Value: name},
		Wildcard:   wildcard,
		Challenges: []v1alpha1.Challenge{{Type: acme.HTTP01, Token: "token-chosen-by-the-attacker-for-" + strings.ReplaceAll(name, ".", "-")}},
	}}
	plant(ctx, authorization)
	return authorization
}

// expectRefusedResponse checks that an authorization fails without an attempt.
func expectRefusedResponse(ctx context.Context, authorization *v1alpha1.AcmeAuthorization, detail string) {
	GinkgoHelper()
	Eventually(ctx, func() acme.State { return refresh(ctx, authorization).Status.State }).WithTimeout(patience).Should(Equal(acme.StateInvalid))
	Expect(authorization.Status.Problem.Detail).To(ContainSubstring(detail))
	Expect(authorization.Status.Challenge.Attempts).To(BeZero())
	Expect(authorization.Status.Challenge.ValidatedAt).To(BeNil())
	Expect(kubectl(ctx, "get", "acmeauthz", authorization.Name)).To(And(ContainSubstring("invalid"), ContainSubstring(string(authorization.Status.Problem.Type))))
	expectShown(ctx, "acmeauthorization", authorization, "ResponseRefused", detail)
}

var _ = Describe("A captured ACME server, with a victim's authorization that is pending", func() {
	var victim, attacker *party
	var order pursuit
	var authorization *v1alpha1.AcmeAuthorization
	var challenge *xacme.Challenge
	var name string

	BeforeEach(func(ctx SpecContext) {
		victim, attacker = newParty(ctx), newParty(ctx)
		name = newName()
		order = victim.order(ctx, name)
		challenge = victim.challenge(ctx, order.client.AuthzURLs[0])
		authorization = storedTooSoon(ctx, order, challenge.Token)
		victim.respond(challenge) // an attempt would succeed
	})

	DescribeTable("cannot accept a challenge for the victim", func(ctx SpecContext, request func(context.Context) *v1alpha1.SignedRequest, detail string) {
		Expect(writeSpec(ctx, server, authorization, response(acme.HTTP01, request(ctx)))).To(Succeed())

		expectRefusedResponse(ctx, authorization, detail)
		expectFailed(ctx, victim, order, detail)
		victim.obtain(ctx, name)
	},
		Entry("without a signature", SpecTimeout(specPatience), func(context.Context) *v1alpha1.SignedRequest {
			return garbled(victim.signedAs(attacker.Key, acme.ChallengePath(authorization.Name, acme.HTTP01), struct{}{}))
		}, "the signature does not verify"),
		Entry("by the attacker's account", SpecTimeout(specPatience), func(context.Context) *v1alpha1.SignedRequest {
			return attacker.signedAs(attacker.Key, acme.ChallengePath(authorization.Name, acme.HTTP01), struct{}{})
		}, "the request is not signed by account"),
		Entry("by the attacker in the victim's name", SpecTimeout(specPatience), func(context.Context) *v1alpha1.SignedRequest {
			return victim.signedAs(attacker.Key, acme.ChallengePath(authorization.Name, acme.HTTP01), struct{}{})
		}, "the signature does not verify"),
		Entry("with the victim's request for another authorization", SpecTimeout(specPatience), func(ctx context.Context) *v1alpha1.SignedRequest {
			other := victim.challenge(ctx, victim.order(ctx, newName()).client.AuthzURLs[0])
			return victim.withheld(func() error { _, err := victim.Accept(ctx, other); return err })
		}, "the request was signed for another URL"),
		Entry("with the victim's POST-as-GET of it", SpecTimeout(specPatience), func(ctx context.Context) *v1alpha1.SignedRequest {
			return victim.withheld(func() error { _, err := victim.GetChallenge(ctx, challenge.URI); return err })
		}, "this request needs a JSON payload, and is a POST-as-GET"),
	)

	It("cannot answer a challenge that the victim did not accept", func(ctx SpecContext) {
		genuine := victim.withheld(func() error { _, err := victim.Accept(ctx, challenge); return err })
		Expect(writeSpec(ctx, server, authorization, response(acme.DNS01, genuine))).To(Succeed())
		expectRefusedResponse(ctx, authorization, "the request was signed for another URL")
	}, SpecTimeout(specPatience))

	It("cannot replace the victim's account or the token", func(ctx SpecContext) {
		Expect(writeSpec(ctx, server, authorization, map[string]any{"accountRef": map[string]any{"name": attacker.account(ctx).Name}})).
			To(MatchError(ContainSubstring("accountRef is immutable")))
		Expect(writeSpec(ctx, server, authorization, map[string]any{"challenges": []v1alpha1.Challenge{{Type: acme.HTTP01, Token: "token-chosen-by-the-attacker"}}})).
			To(MatchError(ContainSubstring("challenges are immutable")))
		Expect(writeSpec(ctx, server, authorization, map[string]any{"identifier": map[string]any{"value": newName()}})).
			To(MatchError(ContainSubstring("identifier is immutable")))
		_, err := victim.Accept(ctx, challenge)
		Expect(err).NotTo(HaveOccurred())
		_, err = victim.WaitOrder(ctx, order.client.URI)
		Expect(err).NotTo(HaveOccurred())
		victim.finalize(ctx, order)
	}, SpecTimeout(specPatience))
})

var _ = Describe("A captured ACME server, with the attacker's account", func() {
	var attacker *party
	var account *v1alpha1.AcmeAccount
	var name string

	BeforeEach(func(ctx SpecContext) {
		attacker = newParty(ctx)
		account, name = attacker.account(ctx), newName()
	})

	accept := func(ctx context.Context, authorization *v1alpha1.AcmeAuthorization) *v1alpha1.SignedRequest {
		GinkgoHelper()
		challenge := &xacme.Challenge{Type: string(acme.HTTP01), URI: url(acme.ChallengePath(authorization.Name, acme.HTTP01))}
		return attacker.withheld(func() error { _, err := attacker.Accept(ctx, challenge); return err })
	}

	DescribeTable("created again under its name", func(ctx SpecContext, age time.Duration) {
		authorization := &v1alpha1.AcmeAuthorization{Spec: v1alpha1.AcmeAuthorizationSpec{
			IssuerRef: v1alpha1.ObjectRef{Name: issuerName}, AccountRef: v1alpha1.ObjectRef{Name: account.Name},
			Identifier: v1alpha1.Identifier{Type: acme.DNS, Value: name},
			Challenges: []v1alpha1.Challenge{{Type: acme.HTTP01, Token: "token-of-the-first-authorization"}},
		}}
		authorization.Name = v1alpha1.NewObjectName(time.Now().Add(-age))
		plant(ctx, authorization)
		Expect(writeSpec(ctx, server, authorization, response(acme.HTTP01, accept(ctx, authorization)))).To(Succeed())
		expectRefusedResponse(ctx, authorization, "the authorization was not created at the time in its name")
	},
		Entry("is refused long after", SpecTimeout(specPatience), 11*time.Minute),
		Entry("is refused long before", SpecTimeout(specPatience), -11*time.Minute),
	)

	It("cannot create a valid authorization", func(ctx SpecContext) {
		expires := metav1.NewTime(time.Now().Add(time.Hour))
		authorization := &v1alpha1.AcmeAuthorization{
			Spec: v1alpha1.AcmeAuthorizationSpec{
				IssuerRef: v1alpha1.ObjectRef{Name: issuerName}, AccountRef: v1alpha1.ObjectRef{Name: account.Name},
				Identifier: v1alpha1.Identifier{Type: acme.DNS, Value: name},
				Challenges: []v1alpha1.Challenge{{Type: acme.HTTP01, Token: "token-chosen-by-the-attacker"}},
			},
			Status: v1alpha1.AcmeAuthorizationStatus{State: acme.StateValid, Expires: &expires},
		}
		plant(ctx, authorization)
		Expect(refresh(ctx, authorization).Status.State).To(Equal(acme.StatePending))
		order := pursuit{&v1alpha1.AcmeOrder{
			Spec: v1alpha1.AcmeOrderSpec{
				IssuerRef: authorization.Spec.IssuerRef, AccountRef: authorization.Spec.AccountRef,
				Identifiers: []v1alpha1.Identifier{authorization.Spec.Identifier}, Authorizations: []string{authorization.Name},
			},
			Status: v1alpha1.AcmeOrderStatus{State: acme.StateReady},
		}, nil}
		plant(ctx, order.AcmeOrder)
		order.client = clientOrder(order.Name)
		stolen := csr(thief, name)
		Expect(writeSpec(ctx, server, order, finalization(attacker.finalizes(ctx, order, stolen)))).To(Succeed())

		Consistently(ctx, func() acme.State { return refresh(ctx, order.AcmeOrder).Status.State }).WithTimeout(2 * time.Second).Should(Equal(acme.StatePending))
		Expect(order.Status.Certificate).To(BeEmpty())
		Expect(kubectl(ctx, "get", "acmeauthz", authorization.Name)).To(ContainSubstring("pending"))
	}, SpecTimeout(specPatience))

	It("cannot have a name validated that answers otherwise", func(ctx SpecContext) {
		authorization := plantAuthorization(ctx, issuerName, account, name, false)
		Expect(writeSpec(ctx, server, authorization, response(acme.HTTP01, accept(ctx, authorization)))).To(Succeed())
		// Five attempts, since 404 may mean that it isn't there yet.
		Eventually(ctx, func() acme.State { return refresh(ctx, authorization).Status.State }).WithTimeout(2 * patience).Should(Equal(acme.StateInvalid))
		expectShown(ctx, "acmeauthorization", authorization, "answered with HTTP status 404")
	}, SpecTimeout(specPatience))

	It("cannot have a name validated by the victim's answer to the same token", func(ctx SpecContext) {
		victim := newParty(ctx)
		authorization := plantAuthorization(ctx, issuerName, account, name, false)
		victim.respond(&xacme.Challenge{Token: authorization.Spec.Challenges[0].Token})
		Expect(writeSpec(ctx, server, authorization, response(acme.HTTP01, accept(ctx, authorization)))).To(Succeed())
		Eventually(ctx, func() acme.State { return refresh(ctx, authorization).Status.State }).WithTimeout(patience).Should(Equal(acme.StateInvalid))
		expectShown(ctx, "acmeauthorization", authorization, "answered with something other than the key authorization")
	}, SpecTimeout(specPatience))

	It("cannot have a wildcard validated by http-01", func(ctx SpecContext) {
		authorization := plantAuthorization(ctx, issuerName, account, name, true)
		attacker.respond(&xacme.Challenge{Token: authorization.Spec.Challenges[0].Token})
		Expect(writeSpec(ctx, server, authorization, response(acme.HTTP01, accept(ctx, authorization)))).To(Succeed())
		expectRefusedResponse(ctx, authorization, "http-01")
	}, SpecTimeout(specPatience))

	Context("at an issuer with its own rules", Ordered, func() {
		const strict = "strict"
		BeforeAll(func(ctx SpecContext) {
			served := refresh(ctx, &v1alpha1.AcmeIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: local.Namespace, Name: issuerName}})
			issuer := &v1alpha1.AcmeIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: local.Namespace, Name: strict}}
			issuer.Spec.CA.SelfSigned = &v1alpha1.SelfSignedCA{}
			issuer.Spec.Validation = served.Spec.Validation
			issuer.Spec.Challenges.Types = []acme.ChallengeType{acme.DNS01}
			issuer.Spec.Policy.DNS.Deny = []string{"denied.test"}
			Expect(person.Create(ctx, issuer)).To(Succeed())
			Eventually(ctx, func() string { return refresh(ctx, issuer).Status.DirectoryURL }).WithTimeout(patience).ShouldNot(BeEmpty())
		})
		BeforeEach(func(ctx SpecContext) {
			attacker = newcomer()
			attacker.DirectoryURL = acmeca.BaseURL() + "/" + local.Namespace + "/" + strict + "/acme/directory"
			attacker.register(ctx)
			account = attacker.account(ctx)
		})
		// accept returns the attacker's genuine request, at that issuer.
		accept := func(ctx context.Context, authorization *v1alpha1.AcmeAuthorization) *v1alpha1.SignedRequest {
			GinkgoHelper()
			uri := acmeca.BaseURL() + "/" + local.Namespace + "/" + strict + "/" + acme.ChallengePath(authorization.Name, acme.HTTP01)
			return attacker.withheld(func() error {
				_, err := attacker.Accept(ctx, &xacme.Challenge{Type: string(acme.HTTP01), URI: uri})
				return err
			})
		}

		It("cannot have a name validated by a challenge that the issuer does not offer", func(ctx SpecContext) {
			authorization := plantAuthorization(ctx, strict, account, name, false)
			attacker.respond(&xacme.Challenge{Token: authorization.Spec.Challenges[0].Token})
			Expect(writeSpec(ctx, server, authorization, response(acme.HTTP01, accept(ctx, authorization)))).To(Succeed())
			expectRefusedResponse(ctx, authorization, "http-01")
		}, SpecTimeout(specPatience))

		It("cannot have a name validated that the issuer's policy denies", func(ctx SpecContext) {
			authorization := plantAuthorization(ctx, strict, account, "www.denied.test", false)
			attacker.respond(&xacme.Challenge{Token: authorization.Spec.Challenges[0].Token})
			Expect(writeSpec(ctx, server, authorization, response(acme.HTTP01, accept(ctx, authorization)))).To(Succeed())
			expectRefusedResponse(ctx, authorization, "is denied by this issuer's policy")
		}, SpecTimeout(specPatience))

		It("cannot use an authorization of another issuer", func(ctx SpecContext) {
			elsewhere := newParty(ctx)
			own := elsewhere.readyOrder(ctx, name)
			planted := &v1alpha1.AcmeOrder{Spec: *own.Spec.DeepCopy()}
			planted.Spec.IssuerRef.Name, planted.Spec.AccountRef.Name = strict, account.Name
			plant(ctx, planted)
			Eventually(ctx, func() acme.State { return refresh(ctx, planted).Status.State }).WithTimeout(patience).Should(Equal(acme.StateInvalid))
			expectShown(ctx, "acmeorder", planted, "the authorization belongs to another account or issuer")
		}, SpecTimeout(specPatience))
	})
})
