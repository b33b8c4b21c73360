package observability

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// openSchema removes the patterns of the times in an order's spec, as in a CRD of an earlier version, until the spec ends.
func openSchema(ctx context.Context) {
	GinkgoHelper()
	change := func(ctx context.Context, edit func(spec map[string]any)) {
		GinkgoHelper()
		crd := &unstructured.Unstructured{}
		crd.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
		Expect(acmeca.Client().Get(ctx, kube.ObjectKey{Name: "acmeorders.acmeca.dev"}, crd)).To(Succeed())
		edit(crd.Object["spec"].(map[string]any))
		Expect(acmeca.Client().Update(ctx, crd)).To(Succeed())
	}
	var before map[string]any
	change(ctx, func(spec map[string]any) {
		before = (&unstructured.Unstructured{Object: spec}).DeepCopy().Object
		times, found, err := unstructured.NestedMap(spec["versions"].([]any)[0].(map[string]any), "schema", "openAPIV3Schema", "properties", "spec", "properties")
		Expect(err).NotTo(HaveOccurred())
		Expect(found).To(BeTrue())
		for _, field := range []string{"notBefore", "notAfter"} {
			delete(times[field].(map[string]any), "pattern")
		}
		Expect(unstructured.SetNestedMap(spec["versions"].([]any)[0].(map[string]any), times, "schema", "openAPIV3Schema", "properties", "spec", "properties")).To(Succeed())
	})
	DeferCleanup(func(ctx SpecContext) {
		change(ctx, func(spec map[string]any) { spec["versions"] = before["versions"] })
	})
}

var _ = Describe("An order that cannot be decoded", func() {
	It("stops no other order, neither when it is created nor at the next start", func(ctx SpecContext) {
		openSchema(ctx)
		namespace := &corev1.Namespace{}
		namespace.Name = "hostile"
		Expect(acmeca.Client().Create(ctx, namespace)).To(Succeed())
		order := &unstructured.Unstructured{}
		order.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("AcmeOrder"))
		order.SetNamespace(namespace.Name)
		order.SetName("bad")
		order.Object["spec"] = map[string]any{
			"issuerRef": map[string]any{"name": "default"}, "accountRef": map[string]any{"name": "nobody"},
			"identifiers":    []any{map[string]any{"type": "dns", "value": "a.test"}},
			"authorizations": []any{"bad-0"},
			"notBefore":      "2026-01-01t00:00:00z",
		}
		Eventually(ctx, func() error { return acmeca.Client().Create(ctx, order) }).WithTimeout(20 * time.Second).Should(Succeed())
		ignored := func(n int) {
			GinkgoHelper()
			Eventually(ctx, func() float64 {
				return sum(scrape(ctx), "acmeca_undecodable_objects", map[string]string{"kind": "AcmeOrder"})
			}).WithTimeout(20 * time.Second).Should(BeNumerically("==", n))
		}
		ignored(1)
		newClient(ctx).obtain(ctx, "watched.test")

		By("starting again with the order in the list")
		acmeca.StopOperator()
		Expect(acmeca.StartOperator(ctx)).To(Succeed())
		ignored(1)
		newClient(ctx).obtain(ctx, "listed.test")

		By("deleting the order")
		Expect(acmeca.Client().Delete(ctx, order)).To(Succeed())
		ignored(0)
	}, SpecTimeout(3*time.Minute))
})
