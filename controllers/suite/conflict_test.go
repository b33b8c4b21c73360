package suite

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

var _ = Describe("A conflict with another's change", func() {
	It("doesn't come about among the controllers when an issuer is made, changed, deleted and made again", func(ctx SpecContext) {
		o := newOperator(ctx)
		issuer := o.edit(ctx, func(spec *v1alpha1.AcmeIssuerSpec) { spec.Account.Website = "https://ca.test" })
		Expect(issuer.Status.ObservedGeneration).To(Equal(issuer.Generation))
		o.deleteIssuer(ctx)
		o.makeAgain(ctx)
		o.stop()
		Expect(o.conflicts).To(BeEmpty())
	})

	It("isn't caused by two writes of one reconcile of an issuer", func(ctx SpecContext) {
		w := newIssuerWorld(ctx, selfSigned(v1alpha1.SelfSignedCA{}))
		w.edit(ctx, func(issuer *v1alpha1.AcmeIssuer) { issuer.Finalizers = nil })
		Expect(w.reconcile(ctx)).To(And(HaveField("Finalizers", ConsistOf(v1alpha1.IssuerFinalizer)), HaveField("Status.Conditions", BeEmpty())))
		Expect(readyOf(w.reconcile(ctx)).Reason).To(Equal(v1alpha1.ReasonReady))
	})

	It("doesn't come about between the two controllers that publish an issuer's last CRLs", func(ctx SpecContext) {
		w := newIssuerWorld(ctx, selfSigned(v1alpha1.SelfSignedCA{}))
		w.reconcile(ctx)
		issuer := *w.loaded()
		issuer.Ending = true
		errs := make(chan error, 2)
		for range cap(errs) {
			go func() {
				_, err := w.reconciler.CRLs.PublishLast(ctx, w.key(), &issuer)
				errs <- err
			}()
		}
		for range cap(errs) {
			Expect(<-errs).NotTo(HaveOccurred())
		}
	})
})
