package suite

import (
	"context"
	"crypto"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/crl"
	"github.com/acmeca/acmeca/controllers/issuers"
)

var _ = Describe("The key of a certificate that was revoked as compromised", func() {
	var w *crlWorld
	var key crypto.PublicKey
	var fingerprint string
	BeforeEach(func(ctx SpecContext) {
		w = newCRLWorld(ctx)
		signer, err := ca.GenerateKey(ca.ECDSAP256)
		Expect(err).NotTo(HaveOccurred())
		key = signer.Public()
		fingerprint, err = issuers.KeyFingerprint(key)
		Expect(err).NotTo(HaveOccurred())
	})

	// revoked makes an order whose certificate has the key.
	revoked := func(ctx context.Context, serial int64, reason ca.Reason) *v1alpha1.AcmeOrder {
		GinkgoHelper()
		return w.revokeWith(ctx, serial, w.clock.Now().Add(hours(1000).Duration), reason, fingerprint)
	}
	blocked := func(ctx context.Context) bool {
		GinkgoHelper()
		order := &v1alpha1.AcmeOrder{Spec: v1alpha1.AcmeOrderSpec{IssuerRef: v1alpha1.ObjectRef{Name: "ca"}}}
		order.Namespace = w.namespace
		problem, err := w.lists.Publisher.CompromisedKeys.Fault(ctx, order, key)
		Expect(err).NotTo(HaveOccurred())
		if problem != nil {
			Expect(problem.Type).To(Equal(acme.BadCSR))
		}
		return problem != nil
	}
	stored := func(ctx context.Context) *corev1.ConfigMap {
		GinkgoHelper()
		configMap := &corev1.ConfigMap{}
		Expect(client.IgnoreNotFound(admin.Get(ctx, client.ObjectKey{Namespace: w.namespace, Name: "ca-blocked-keys"}, configMap))).To(Succeed())
		return configMap
	}

	It("is refused while the order exists, and one revoked for another reason isn't", func(ctx SpecContext) {
		revoked(ctx, 1, ca.Superseded)
		Expect(blocked(ctx)).To(BeFalse())
		revoked(ctx, 2, ca.KeyCompromise)
		Expect(blocked(ctx)).To(BeTrue())
	})

	It("is refused after the order has gone, also by a controller that starts then", func(ctx SpecContext) {
		order := revoked(ctx, 1, ca.KeyCompromise)
		w.remove(ctx, order)
		w.publish(ctx)
		Expect(exists(ctx, order)).To(BeFalse())
		Expect(stored(ctx).Data[issuers.CompromisedKeysField]).To(Equal(fingerprint + "\n"))
		Expect(blocked(ctx)).To(BeTrue())
		w.restartLists()
		Expect(w.lists.Publisher.CompromisedKeys.Load(ctx, w.key(), w.loaded())).To(Succeed())
		Expect(blocked(ctx)).To(BeTrue())
	})

	It("is stored once the CRL lists the certificate, so that nothing keeps the order", func(ctx SpecContext) {
		order := revoked(ctx, 1, ca.KeyCompromise)
		w.publish(ctx)
		Expect(fresh(ctx, order).Finalizers).To(BeEmpty())
		Expect(stored(ctx).Data[issuers.CompromisedKeysField]).To(Equal(fingerprint + "\n"))
		w.remove(ctx, order)
		Expect(exists(ctx, order)).To(BeFalse())
		Expect(blocked(ctx)).To(BeTrue())
	})

	It("is stored before the order can go", func(ctx SpecContext) {
		order := revoked(ctx, 1, ca.KeyCompromise)
		w.remove(ctx, order)
		w.clock.Step(crl.Interval)
		w.faults.from(2) // the CRL is written, and the key isn't
		_, err := w.lists.Reconcile(ctx, w.crl)
		Expect(err).To(MatchError(errKilled))
		w.faults.none()
		Expect(exists(ctx, order)).To(BeTrue())
		w.restartLists()
		w.publish(ctx)
		Expect(exists(ctx, order)).To(BeFalse())
		Expect(stored(ctx).Data[issuers.CompromisedKeysField]).To(Equal(fingerprint + "\n"))
	})

	It("can be added by a person, and a corrupt list is not overwritten but reported", func(ctx SpecContext) {
		named := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "ca-blocked-keys"}, Data: map[string]string{issuers.CompromisedKeysField: "\n " + strings.ToUpper(fingerprint)}}
		Expect(admin.Create(ctx, named)).To(Succeed())
		Expect(w.lists.Publisher.CompromisedKeys.Load(ctx, w.key(), w.loaded())).To(Succeed())
		Expect(blocked(ctx)).To(BeTrue())

		named.Data[issuers.CompromisedKeysField] = "no key"
		Expect(admin.Update(ctx, named)).To(Succeed())
		Expect(readyOf(w.reconcile(ctx)).Message).To(ContainSubstring(`ConfigMap "ca-blocked-keys": "no key" is no SHA-256`))
		Expect(blocked(ctx)).To(BeTrue(), "what was known stays")
		order := revoked(ctx, 1, ca.KeyCompromise)
		w.restartLists()
		w.remove(ctx, order)
		w.clock.Step(crl.Interval)
		_, err := w.lists.Reconcile(ctx, w.crl)
		Expect(err).To(MatchError(ContainSubstring("is no SHA-256")))
		Expect(exists(ctx, order)).To(BeTrue())
		Expect(stored(ctx).ResourceVersion).To(Equal(named.ResourceVersion))
	})
})
