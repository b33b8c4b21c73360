package suite

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/issuer"
)

var _ = Describe("A namespace with more issuers than are served", func() {
	It("has the oldest served, and the others say so, make no key, and are served once an older one is gone", func(ctx SpecContext) {
		w := newIssuerWorld(ctx, selfSigned(v1alpha1.SelfSignedCA{}))
		w.reconciler.Bound = &issuer.Bound{Reader: w.reconciler.Client, Clock: w.clock, Max: 2}
		reconcile := func(name string) *v1alpha1.AcmeIssuer {
			GinkgoHelper()
			w.clock.Step(time.Second)
			key := client.ObjectKey{Namespace: w.namespace, Name: name}
			_, err := w.reconciler.Reconcile(ctx, ctrl.Request{NamespacedName: key})
			Expect(err).NotTo(HaveOccurred())
			object := &v1alpha1.AcmeIssuer{}
			Expect(client.IgnoreNotFound(admin.Get(ctx, key, object))).To(Succeed())
			return object
		}
		for i := range 2 { // of the same second, or younger: their names decide
			object := &v1alpha1.AcmeIssuer{Spec: selfSigned(v1alpha1.SelfSignedCA{})}
			object.Namespace, object.Name, object.Finalizers = w.namespace, fmt.Sprintf("later-%d", i), []string{v1alpha1.IssuerFinalizer}
			Expect(admin.Create(ctx, object)).To(Succeed())
		}
		for _, name := range []string{"ca", "later-0"} {
			Expect(readyOf(reconcile(name)).Reason).To(Equal(v1alpha1.ReasonReady), name)
		}
		beyond := reconcile("later-1")
		Expect(readyOf(beyond).Reason).To(Equal(v1alpha1.ReasonTooManyIssuers))
		Expect(w.events.taken()).To(ContainElement(ContainSubstring("more than 2 issuers")))
		Expect(admin.Get(ctx, client.ObjectKey{Namespace: w.namespace, Name: "later-1-root"}, &corev1.Secret{})).To(MatchError(ContainSubstring("not found")))

		Expect(admin.Delete(ctx, w.issuer(ctx))).To(Succeed())
		Expect(readyOf(reconcile("later-1")).Reason).To(Equal(v1alpha1.ReasonReady))
	})

	It("keeps the CA of one that was served before the limit, for its CRLs, but doesn't issue from it", func(ctx SpecContext) {
		w := newIssuerWorld(ctx, selfSigned(v1alpha1.SelfSignedCA{}))
		later := &v1alpha1.AcmeIssuer{Spec: selfSigned(v1alpha1.SelfSignedCA{})}
		later.Namespace, later.Name, later.Finalizers = w.namespace, "later", []string{v1alpha1.IssuerFinalizer}
		Expect(admin.Create(ctx, later)).To(Succeed())
		request := ctrl.Request{NamespacedName: client.ObjectKeyFromObject(later)}
		for _, limit := range []int{2, 1} {
			w.reconciler.Bound = &issuer.Bound{Reader: w.reconciler.Client, Clock: w.clock, Max: limit}
			_, err := w.reconciler.Reconcile(ctx, request)
			Expect(err).NotTo(HaveOccurred())
		}
		Expect(readyOf(fresh(ctx, later)).Reason).To(Equal(v1alpha1.ReasonTooManyIssuers))
		loaded, ok := w.reconciler.Issuers.Loaded(w.namespace, "later")
		Expect(ok).To(BeTrue())
		Expect(loaded.Authority).NotTo(BeNil())
		_, ready := w.reconciler.Issuers.ReadyToIssue(w.namespace, "later")
		Expect(ready).To(BeFalse())
	})
})
