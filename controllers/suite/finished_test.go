package suite

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/crl"
	"github.com/acmeca/acmeca/controllers/inventory"
)

var _ = Describe("Finished orders, which the cache does not hold,", func() {
	var o *operator
	var owner *acmeClient
	issued := func(ctx SpecContext, name string) *v1alpha1.AcmeOrder {
		GinkgoHelper()
		order := owner.readyOrder(ctx, name)
		owner.finalize(ctx, order)
		expectIssued(ctx, order)
		return order
	}
	BeforeEach(func(ctx SpecContext) {
		o = newOperator(ctx)
		owner = o.registered(ctx)
	})

	It("are revoked if a person asked while no controllers ran, and if the person asks after a start", func(ctx SpecContext) {
		early, late := issued(ctx, "a.test"), issued(ctx, "b.test")
		o.stop()
		revoke(ctx, early, 0, nil)
		o.start()
		expectRevoked(ctx, early)
		o.expectListed(ctx, early)
		revoke(ctx, late, 0, nil)
		expectRevoked(ctx, late)
		o.expectListed(ctx, late)
	})

	It("are in the next CRL if they are revoked, also if the controllers start again and the last CRL is lost", func(ctx SpecContext) {
		revoked, owed := issued(ctx, "a.test"), issued(ctx, "b.test")
		revoke(ctx, revoked, 1, nil)
		expectRevoked(ctx, revoked)
		o.expectListed(ctx, revoked)
		o.stop()
		revoke(ctx, owed, 4, nil)
		Expect(admin.Delete(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
			Namespace: o.namespace, Name: v1alpha1.CRLConfigMap("ca", v1alpha1.CompleteCRL(fresh(ctx, revoked).Status.CRL)),
		}})).To(Succeed())
		o.start()
		expectRevoked(ctx, owed)
		o.clock.Step(crl.Interval)
		Eventually(ctx, func() []string { return fresh(ctx, owed).Finalizers }).WithTimeout(patience).Should(BeEmpty())
		var serials []string
		for _, entry := range o.crlOf(ctx, owed).RevokedCertificateEntries {
			serials = append(serials, v1alpha1.SerialText(entry.SerialNumber))
		}
		Expect(serials).To(ConsistOf(revoked.Status.Serial, owed.Status.Serial))
	})

	It("are known to the inventory after a start, and until they are deleted", func(ctx SpecContext) {
		first := issued(ctx, "a.test")
		ca := types.NamespacedName{Namespace: o.namespace, Name: "ca"}
		valid := func(n int) inventory.Count { return inventory.Count{Issuer: ca, State: acme.StateValid, Orders: n} }
		known := func() []inventory.Count { counts, _ := o.inventory.Counts(); return counts }
		o.restart()
		Eventually(ctx, known).WithTimeout(patience).Should(ConsistOf(valid(1)))
		Eventually(ctx, func() bool {
			replaced, known := o.inventory.Replaced().Contains(ca, first.CertificateID())
			return known && !replaced
		}).WithTimeout(patience).Should(BeTrue())
		second := issued(ctx, "b.test")
		Eventually(ctx, known).WithTimeout(patience).Should(ConsistOf(valid(2)))
		Expect(admin.Delete(ctx, second)).To(Succeed())
		Eventually(ctx, known).WithTimeout(patience).Should(ConsistOf(valid(1)))
	})

	It("are deleted with or without a revocation that a CRL has to list", func(ctx SpecContext) {
		plain, owed := issued(ctx, "a.test"), issued(ctx, "b.test")
		Expect(admin.Delete(ctx, plain)).To(Succeed())
		Eventually(ctx, func() bool { return apierrors.IsNotFound(admin.Get(ctx, client.ObjectKeyFromObject(plain), plain)) }).WithTimeout(patience).Should(BeTrue())
		revoke(ctx, owed, 0, nil)
		expectRevoked(ctx, owed)
		Expect(admin.Delete(ctx, owed)).To(Succeed())
		o.restart()
		o.clock.Step(crl.Interval)
		Eventually(ctx, func() bool { return apierrors.IsNotFound(admin.Get(ctx, client.ObjectKeyFromObject(owed), owed)) }).WithTimeout(patience).Should(BeTrue())
	})
})
