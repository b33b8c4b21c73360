package trust

import (
	"context"
	"path"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/local"
)

// setGrants replaces the grants of the issuer, as a person.
func setGrants(ctx context.Context, grants ...v1alpha1.Grant) {
	GinkgoHelper()
	issuer := &v1alpha1.AcmeIssuer{}
	issuer.Namespace, issuer.Name = local.Namespace, issuerName
	before := refresh(ctx, issuer).DeepCopy()
	issuer.Spec.Grants = grants
	Expect(person.Patch(ctx, issuer, client.MergeFrom(before))).To(Succeed())
	Eventually(ctx, func() bool {
		refresh(ctx, issuer)
		return issuer.Status.ObservedGeneration == issuer.Generation
	}).WithTimeout(patience).Should(BeTrue())
}

var _ = Describe("A captured ACME server, with an account that has a grant", Ordered, func() {
	var team, attacker *party
	BeforeAll(func(ctx SpecContext) {
		team, attacker = newParty(ctx), newParty(ctx)
		setGrants(ctx, v1alpha1.Grant{Name: "team", Accounts: []string{path.Base(string(team.KID))}, DNS: []string{"granted.test"}})
		DeferCleanup(func(ctx SpecContext) { setGrants(ctx) })
	})

	// forge stores an order of an account that claims grants, as the ACME server, with a genuine finalize request.
	forge := func(ctx context.Context, p *party, name string, grants ...string) pursuit {
		GinkgoHelper()
		forged := &v1alpha1.AcmeOrder{Spec: v1alpha1.AcmeOrderSpec{
			IssuerRef: v1alpha1.ObjectRef{Name: issuerName}, AccountRef: v1alpha1.ObjectRef{Name: path.Base(string(p.KID))},
			Identifiers: []v1alpha1.Identifier{{Type: acme.DNS, Value: name}}, Grants: grants,
		}}
		forged.Namespace, forged.Name = local.Namespace, v1alpha1.NewObjectName(metav1.Now().Time)
		forged.Spec.Authorizations = []string{v1alpha1.OwnAuthorization(forged.Name, 0)}
		Expect(server.Create(ctx, forged)).To(Succeed())
		order := pursuit{forged, clientOrder(forged.Name)}
		stolen := csr(thief, name)
		Expect(writeSpec(ctx, server, order, finalization(p.signedAs(p.Key, acme.FinalizePath(order.Name), csrPayload(stolen))))).To(Succeed())
		return order
	}

	DescribeTable("gets no certificate by a grant that the account does not have", func(ctx SpecContext, who func() *party, name, detail string, grants ...string) {
		order := forge(ctx, who(), name, grants...)
		Eventually(ctx, func() acme.State { return refresh(ctx, order.AcmeOrder).Status.State }).WithTimeout(patience).Should(Equal(acme.StateInvalid))
		Expect(order.Status.Certificate).To(BeEmpty())
		Expect(order.Status.Problem.Detail).To(ContainSubstring(detail))
	},
		Entry("of another account", SpecTimeout(specPatience), func() *party { return attacker }, "granted.test", "it is not for this account", "team"),
		Entry("for another name", SpecTimeout(specPatience), func() *party { return team }, "other.test", "it does not include the identifier", "team"),
		Entry("that does not exist", SpecTimeout(specPatience), func() *party { return team }, "granted.test", "the issuer has no such grant", "none"),
	)

	It("cannot have a granted name certified without the team's signature", func(ctx SpecContext) {
		order := team.order(ctx, "granted.test")
		Expect(order.Spec.Grants).To(Equal([]string{"team"}))
		stolen := csr(thief, "granted.test")
		request := team.signedAs(attacker.Key, acme.FinalizePath(order.Name), csrPayload(stolen))
		Expect(writeSpec(ctx, server, order, finalization(request))).To(Succeed())
		expectFailed(ctx, team, order, "the signature does not verify")
		team.finalize(ctx, team.order(ctx, "granted.test"))
	}, SpecTimeout(specPatience))

	It("cannot write a grant, a valid authorization, or the key that an account is bound to", func(ctx SpecContext) {
		issuer := &v1alpha1.AcmeIssuer{}
		issuer.Namespace, issuer.Name = local.Namespace, issuerName
		patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"grants":[{"name":"mine","allIdentifiers":true}]}}`))
		Expect(server.Patch(ctx, issuer, patch)).To(MatchError(ContainSubstring("forbidden")))
		Expect(controller.Patch(ctx, issuer, patch)).To(MatchError(ContainSubstring("forbidden")), "nor can the controllers")
		valid := client.RawPatch(types.MergePatchType, []byte(`{"status":{"state":"valid"}}`))
		Expect(server.Status().Patch(ctx, attacker.pendingAuthorization(ctx), valid)).To(MatchError(ContainSubstring("forbidden")))
		bound := client.RawPatch(types.MergePatchType, []byte(`{"status":{"externalAccountKeyID":"team"}}`))
		Expect(server.Status().Patch(ctx, attacker.account(ctx), bound)).To(MatchError(ContainSubstring("forbidden")))
	}, SpecTimeout(specPatience))

	It("cannot change the grants of an order", func(ctx SpecContext) {
		order := attacker.order(ctx, "granted.test")
		Expect(writeSpec(ctx, server, order, map[string]any{"grants": []string{"team"}})).To(MatchError(ContainSubstring("grants are immutable")))
		Expect(writeSpec(ctx, server, team.order(ctx, "granted.test"), map[string]any{"grants": nil})).To(MatchError(ContainSubstring("grants are immutable")))
	}, SpecTimeout(specPatience))
})
