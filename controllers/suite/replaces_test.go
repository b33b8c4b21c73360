package suite

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

var _ = Describe("Orders that replace a certificate (RFC 9773 section 5), whatever an ACME server let through,", func() {
	// replacing is an order for a name that is proved, which says that it replaces another one's certificate.
	replacing := func(ctx context.Context, c *acmeClient, replaced *v1alpha1.AcmeOrder, name string) *v1alpha1.AcmeOrder {
		GinkgoHelper()
		authz := c.prove(ctx, c.authorize(ctx, name))
		order := &v1alpha1.AcmeOrder{Spec: v1alpha1.AcmeOrderSpec{
			IssuerRef: v1alpha1.ObjectRef{Name: "ca"}, AccountRef: v1alpha1.ObjectRef{Name: c.account.Name}, Replaces: replaced.CertificateID(),
			Identifiers: []v1alpha1.Identifier{authz.Spec.Identifier}, Authorizations: []string{authz.Name},
		}}
		order.Namespace, order.Name = c.namespace, newName()
		Expect(admin.Create(ctx, order)).To(Succeed())
		return order
	}
	issued := func(ctx context.Context, c *acmeClient, name string) *v1alpha1.AcmeOrder {
		GinkgoHelper()
		order := c.readyOrder(ctx, name)
		c.finalize(ctx, order)
		expectIssued(ctx, order)
		return order
	}

	It("are issued once for each certificate, however many are finalized together", func(ctx SpecContext) {
		c := newOperator(ctx).registered(ctx)
		first := issued(ctx, c, "a.test")
		var orders []*v1alpha1.AcmeOrder
		for range 6 {
			orders = append(orders, replacing(ctx, c, first, "a.test"))
		}
		for _, order := range orders {
			c.finalize(ctx, order)
		}
		var valid int
		for _, order := range orders {
			Eventually(ctx, func() bool { return finished(fresh(ctx, order)) }).WithTimeout(patience).Should(BeTrue())
			if order.Status.State == acme.StateValid {
				valid++
			} else {
				Expect(order.Status.Problem.Type).To(Equal(acme.AlreadyReplaced))
			}
		}
		Expect(valid).To(Equal(1))

		By("one that comes later, after a restart")
		c.restart()
		Expect(expectFailed(ctx, replacing(ctx, c, first, "a.test")).Type).To(Equal(acme.AlreadyReplaced))
	})

	It("can replace what another failed to replace", func(ctx SpecContext) {
		c := newOperator(ctx).registered(ctx)
		first := issued(ctx, c, "a.test")
		failing := replacing(ctx, c, first, "a.test")
		c.finalizeWith(ctx, failing, newCSR(newSigner(), "b.test"))
		Expect(expectFailed(ctx, failing).Type).To(Equal(acme.BadCSR))
		order := replacing(ctx, c, first, "a.test")
		c.finalize(ctx, order)
		expectIssued(ctx, order)
	})

	It("fail at once where the certificate is another account's, or for other names", func(ctx SpecContext) {
		o := newOperator(ctx)
		c, other := o.registered(ctx), o.registered(ctx)
		first := issued(ctx, c, "a.test")
		Expect(expectFailed(ctx, replacing(ctx, other, first, "a.test")).Detail).To(ContainSubstring("another account"))
		Expect(expectFailed(ctx, replacing(ctx, c, first, "b.test")).Detail).To(ContainSubstring("shares no identifier"))
		order := replacing(ctx, c, first, "a.test")
		c.finalize(ctx, order)
		expectIssued(ctx, order)
	})
})

func finished(order *v1alpha1.AcmeOrder) bool { return order.Finished() }

var _ = Describe("An order of an account that hasn't agreed to new terms", func() {
	It("fails, whatever an ACME server let through, and those after it has are fine", func(ctx SpecContext) {
		o := newOperator(ctx, func(spec *v1alpha1.AcmeIssuerSpec) { spec.Account.TermsOfService = "https://a.test/1" })
		c := o.register(ctx, map[string]any{"termsOfServiceAgreed": true})
		c.expectState(ctx, acme.StateValid)
		before := c.readyOrder(ctx, "a.test")
		c.finalize(ctx, before)
		expectIssued(ctx, before)

		o.edit(ctx, func(spec *v1alpha1.AcmeIssuerSpec) { spec.Account.TermsOfService = "https://a.test/2" })
		order := c.readyOrder(ctx, "a.test")
		c.finalize(ctx, order)
		problem := expectFailed(ctx, order)
		Expect(problem.Type).To(Equal(acme.UserActionRequired))
		Expect(problem.Detail).To(ContainSubstring("https://a.test/2"))

		request := c.sign(acme.AccountPath(c.account.Name), map[string]any{"termsOfServiceAgreed": true})
		c.ask(ctx, func(spec *v1alpha1.AcmeAccountSpec) { spec.Update = request })
		Expect(c.expectHandled(ctx, request, func(s v1alpha1.AcmeAccountStatus) *v1alpha1.HandledRequest { return s.Update })).To(BeNil())
		after := c.readyOrder(ctx, "a.test")
		c.finalize(ctx, after)
		expectIssued(ctx, after)
	})
})
