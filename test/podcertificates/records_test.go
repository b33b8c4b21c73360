package podcertificates

import (
	"context"
	"crypto/x509"
	"math/big"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/crlstore"
	"github.com/acmeca/acmeca/internal/test/controlplane"
)

var _ = Describe("The certificate of a Pod", func() {
	It("is found and revoked after the Pod is deleted, and is in the CRL", func(ctx SpecContext) {
		w := newWorld(ctx)
		pod := w.pod(ctx, "web-0")
		leaf := expectIssued(ctx, w.ask(ctx, pod, newKey()))
		Expect(admin.Delete(ctx, pod, client.GracePeriodSeconds(0))).To(Succeed())
		records := w.records(ctx, "web-0")
		Expect(records).To(HaveLen(1))
		order := &records[0]
		order.Spec.Revocation = &v1alpha1.Revocation{Reason: 1}
		order.Finalizers = []string{v1alpha1.RevocationFinalizer}
		Expect(admin.Update(ctx, order)).To(Succeed())
		Eventually(ctx, func() []*big.Int { return w.revoked(ctx, order.Status.CRL) }).WithTimeout(patience).Should(ContainElement(leaf.SerialNumber))
	})
})

var _ = Describe("The ACME server", func() {
	It("can't create an order for a Pod", func(ctx SpecContext) {
		order := &v1alpha1.AcmeOrder{Spec: v1alpha1.AcmeOrderSpec{IssuerRef: v1alpha1.ObjectRef{Name: "ca"}, Pod: &v1alpha1.PodSource{
			Namespace: "shop", Name: "web", UID: "u", ServiceAccountName: "front", NodeName: nodeName, RequestUID: "r", Rule: "mesh"}}}
		order.Namespace, order.Name = "acmeca-system", "forged"
		Eventually(ctx, func() error { return acmeServer.Create(ctx, order.DeepCopy(), client.DryRunAll) }).WithTimeout(patience).
			Should(MatchError(ContainSubstring("may not create an order for a Pod")))
	})
})

var _ = Describe("An issuer with rules for Pods", func() {
	It("says whether it serves them", func(ctx SpecContext) {
		w := newWorld(ctx)
		Expect(w.condition(ctx, v1alpha1.ConditionPodCertificates)).To(And(HaveField("Status", metav1.ConditionTrue), HaveField("Reason", v1alpha1.ReasonPodsServed)))
		w.stop()
		w.disabled = true
		w.start()
		w.edit(ctx, func(s *v1alpha1.AcmeIssuerSpec) { s.PodCertificates.TrustDomain = "other.test" })
		Eventually(ctx, func() *metav1.Condition { return w.condition(ctx, v1alpha1.ConditionPodCertificates) }).WithTimeout(patience).
			Should(And(HaveField("Status", metav1.ConditionFalse), HaveField("Reason", v1alpha1.ReasonPodsNotEnabled)))
		w.edit(ctx, func(s *v1alpha1.AcmeIssuerSpec) { s.PodCertificates.Rules[0].Condition = "pod." })
		Eventually(ctx, func() *metav1.Condition { return w.condition(ctx, v1alpha1.ConditionReady) }).WithTimeout(patience).
			Should(And(HaveField("Reason", v1alpha1.ReasonInvalidSpec), HaveField("Message", ContainSubstring("spec.podCertificates.rules[0].condition"))))
	})

	It("says so on a cluster without the API", func(ctx SpecContext) {
		current, currentAdmin, currentConfig := plane, admin, controllerConfig
		DeferCleanup(func() { plane, admin, controllerConfig = current, currentAdmin, currentConfig })
		var err error
		plane, err = controlplane.StartForTest(ctx, "--feature-gates=PodCertificateRequest=false")
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(plane.Stop)
		admin = newClient(plane.Config())
		install(ctx, plane, admin)
		controllerConfig, err = plane.ServiceAccountConfig(ctx, "acmeca-system", "acmeca-controller")
		Expect(err).NotTo(HaveOccurred())
		w := newWorld(ctx)
		Eventually(ctx, func() *metav1.Condition { return w.condition(ctx, v1alpha1.ConditionPodCertificates) }).WithTimeout(patience).
			Should(And(HaveField("Status", metav1.ConditionFalse), HaveField("Reason", v1alpha1.ReasonPodsNotSupported)))
	})
})

// revoked returns the serial numbers that a CRL lists; none before it is published.
func (w *world) revoked(ctx context.Context, crl string) []*big.Int {
	GinkgoHelper()
	get := func(ctx context.Context, name string) (*corev1.ConfigMap, error) {
		configMap := &corev1.ConfigMap{}
		return configMap, admin.Get(ctx, client.ObjectKey{Namespace: w.pki, Name: name}, configMap)
	}
	_, content, err := crlstore.Read(ctx, get, v1alpha1.CRLConfigMap(w.issuer().Name, crl), nil)
	if err != nil {
		return nil
	}
	list, err := x509.ParseRevocationList(content.DER)
	Expect(err).NotTo(HaveOccurred())
	var serials []*big.Int
	for _, entry := range list.RevokedCertificateEntries {
		serials = append(serials, entry.SerialNumber)
	}
	return serials
}
