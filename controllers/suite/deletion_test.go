package suite

import (
	"context"
	"crypto/x509"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
)

// crlOf returns the CRL of a certificate's order.
func (o *operator) crlOf(ctx context.Context, order *v1alpha1.AcmeOrder) *x509.RevocationList {
	GinkgoHelper()
	configMap := fresh(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: v1alpha1.CRLConfigMap("ca", fresh(ctx, order).Status.CRL)}})
	crl, err := x509.ParseRevocationList(configMap.BinaryData[v1alpha1.CRLField])
	Expect(err).NotTo(HaveOccurred())
	return crl
}

// makeAgain creates the issuer again, as GitOps does.
func (o *operator) makeAgain(ctx context.Context) *v1alpha1.AcmeIssuer {
	GinkgoHelper()
	issuer := &v1alpha1.AcmeIssuer{Spec: selfSigned(v1alpha1.SelfSignedCA{})}
	issuer.Namespace, issuer.Name = o.namespace, "ca"
	Expect(admin.Create(ctx, issuer)).To(Succeed())
	Eventually(ctx, func() string { return readyReason(ctx, issuer) }).WithTimeout(patience).Should(Equal(v1alpha1.ReasonReady))
	return issuer
}

var _ = Describe("An issuer that is deleted", func() {
	It("ends unfinished objects, carries out requested revocations, and publishes its last CRLs", func(ctx SpecContext) {
		o := newOperator(ctx)
		before := o.issuer(ctx)
		c := o.registered(ctx)
		revoked, kept := c.readyOrder(ctx, "a.test"), c.readyOrder(ctx, "b.test")
		c.finalize(ctx, revoked)
		c.finalize(ctx, kept)
		certificate := expectIssued(ctx, revoked)
		expectIssued(ctx, kept)
		proved := c.prove(ctx, c.authorize(ctx, "proved.test"))
		pending := c.authorize(ctx, "pending.test")
		running := c.order(ctx, pending)
		Expect(before.Finalizers).To(ConsistOf(v1alpha1.IssuerFinalizer))

		// The revocation is asked for in the same moment.
		revoke(ctx, revoked, 1, nil)
		o.deleteIssuer(ctx)

		Expect(expectFailed(ctx, running).Detail).To(ContainSubstring("was deleted"))
		Expect(fresh(ctx, pending).Status.State).To(Equal(acme.StateInvalid))
		Expect(pending.Status.Expires).NotTo(BeNil(), "or else it would be kept for ever")
		Expect(fresh(ctx, proved).Status.State).To(Equal(acme.StateValid))
		Expect(fresh(ctx, kept).Status.State).To(Equal(acme.StateValid))
		Expect(fresh(ctx, c.account).Status.State).To(Equal(acme.StateValid))
		crl := o.crlOf(ctx, revoked)
		Expect(crl.RevokedCertificateEntries).To(ContainElement(HaveField("SerialNumber", certificate.SerialNumber)))
		authority, err := ca.ParseCertificates([]byte(before.Status.IssuingCertificate.Chain))
		Expect(err).NotTo(HaveOccurred())
		for _, order := range []*v1alpha1.AcmeOrder{revoked, kept} {
			Expect(o.crlOf(ctx, order).NextUpdate).To(BeTemporally("==", authority[0].NotAfter), "nobody signs another one")
		}
		former := fresh(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: v1alpha1.FormerConfigMap("ca")}})
		Expect(former.Data).To(HaveKeyWithValue(v1alpha1.TrustField, before.Status.CABundle))
		Expect(former.Data[v1alpha1.AuthoritiesField]).To(Equal(string(ca.EncodeCertificates(authority[0]))))
		Expect(former.Data[v1alpha1.ChainField(kept.Status.Chain)]).To(Equal(before.Status.IssuingCertificate.Chain))

		// An issuer that is created again uses all of it.
		older := v1alpha1.NewChain(before.Status.CABundle)
		former.Data[v1alpha1.ChainField(older.ID)] = older.Certificates
		Expect(admin.Update(ctx, former)).To(Succeed())
		o.clock.Step(time.Minute)
		again := o.makeAgain(ctx)
		Expect(again.Status.IssuingCertificate).To(Equal(before.Status.IssuingCertificate))
		Expect(again.Status.CABundle).To(Equal(before.Status.CABundle))
		Expect(again.Status.Chains).To(Equal(append(before.Status.Chains, older)))
		Eventually(ctx, func(g Gomega) {
			next := o.crlOf(ctx, revoked)
			g.Expect(next.Number.Cmp(crl.Number)).To(Equal(1))
			g.Expect(next.NextUpdate).To(BeTemporally("<", o.clock.Now().Add(8*24*time.Hour)), "CRLs are renewed again")
			g.Expect(next.RevokedCertificateEntries).To(ContainElement(HaveField("SerialNumber", certificate.SerialNumber)))
		}).WithTimeout(patience).Should(Succeed())
		order := c.order(ctx, proved)
		c.finalize(ctx, order)
		expectIssued(ctx, order)
		revoke(ctx, kept, 1, nil)
		Eventually(ctx, func() any { return fresh(ctx, kept).Status.RevokedAt }).WithTimeout(patience).ShouldNot(BeNil())
	})

	It("ends properly when the controllers begin while it is being deleted", func(ctx SpecContext) {
		o := newOperator(ctx)
		c := o.registered(ctx)
		order := c.readyOrder(ctx, "a.test")
		c.finalize(ctx, order)
		expectIssued(ctx, order)
		o.stop()
		issuer := o.issuer(ctx)
		Expect(admin.Delete(ctx, issuer)).To(Succeed())
		revoke(ctx, order, 1, nil)
		o.start()
		Eventually(ctx, func() bool { return apierrors.IsNotFound(admin.Get(ctx, client.ObjectKeyFromObject(issuer), issuer)) }).WithTimeout(patience).Should(BeTrue())
		Expect(o.crlOf(ctx, order).RevokedCertificateEntries).To(HaveLen(1))
	})

	It("goes though it has never had a CA, and though it has lost it", func(ctx SpecContext) {
		o := newOperator(ctx)
		for _, name := range []string{"never", "ca"} {
			issuer := &v1alpha1.AcmeIssuer{Spec: v1alpha1.AcmeIssuerSpec{CA: v1alpha1.CertificateAuthority{SecretRef: &v1alpha1.ObjectRef{Name: "absent"}}}}
			issuer.Namespace, issuer.Name = o.namespace, name
			if name == "ca" {
				o.stop()
				issuer = o.issuer(ctx)
				for _, secret := range []string{"ca-root", "ca-intermediate"} {
					Expect(admin.Delete(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: secret}})).To(Succeed())
				}
			} else {
				Expect(admin.Create(ctx, issuer)).To(Succeed())
				Eventually(ctx, func() string { return readyReason(ctx, issuer) }).WithTimeout(patience).Should(Equal(v1alpha1.ReasonCAUnavailable))
			}
			Expect(admin.Delete(ctx, issuer)).To(Succeed())
			if name == "ca" {
				o.start()
			}
			Eventually(ctx, func() bool { return apierrors.IsNotFound(admin.Get(ctx, client.ObjectKeyFromObject(issuer), issuer)) }).WithTimeout(patience).Should(BeTrue(), name)
		}
	})

	It("goes with its revoked orders, though they and the Secrets were deleted while no controller ran", func(ctx SpecContext) {
		o := newOperator(ctx)
		c := o.registered(ctx)
		listed, owed, asked := c.readyOrder(ctx, "a.test"), c.readyOrder(ctx, "b.test"), c.readyOrder(ctx, "c.test")
		for _, order := range []*v1alpha1.AcmeOrder{listed, owed, asked} {
			c.finalize(ctx, order)
			expectIssued(ctx, order)
		}
		revoke(ctx, listed, 4, nil)
		expectRevoked(ctx, listed)
		o.expectListed(ctx, listed)
		o.stop()
		for _, order := range []*v1alpha1.AcmeOrder{owed, asked} {
			fresh(ctx, order)
			order.Spec.Revocation, order.Finalizers = &v1alpha1.Revocation{Reason: 4}, []string{v1alpha1.RevocationFinalizer}
			Expect(admin.Update(ctx, order)).To(Succeed())
		}
		owed.Status.RevokedAt = &metav1.Time{Time: o.clock.Now()}
		Expect(admin.Status().Update(ctx, owed)).To(Succeed())
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: o.namespace}}
		Expect(admin.Delete(ctx, namespace)).To(Succeed())
		for _, kind := range []client.Object{&corev1.Secret{}, &v1alpha1.AcmeOrder{}, &v1alpha1.AcmeIssuer{}} {
			Expect(admin.DeleteAllOf(ctx, kind, client.InNamespace(o.namespace))).To(Succeed())
		}
		gone := func(object client.Object) bool {
			return apierrors.IsNotFound(admin.Get(ctx, client.ObjectKeyFromObject(object), object))
		}
		Expect(gone(listed)).To(BeTrue())
		Expect(gone(owed)).To(BeFalse())
		o.start()
		for _, object := range []client.Object{owed, asked, &v1alpha1.AcmeIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: "ca"}}} {
			Eventually(ctx, func() bool { return gone(object) }).WithTimeout(patience).Should(BeTrue(), object.GetName())
		}
	})

	It("hands what was made for it to the garbage collector, if that is its policy", func(ctx SpecContext) {
		o := newOperator(ctx, func(s *v1alpha1.AcmeIssuerSpec) { s.DeletionPolicy = v1alpha1.DeletionDelete })
		c := o.registered(ctx)
		order := c.readyOrder(ctx, "a.test")
		c.finalize(ctx, order)
		expectIssued(ctx, order)
		shard := fresh(ctx, order).Status.CRL
		mine := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: "ca-eab-mine"}}
		Expect(admin.Create(ctx, mine)).To(Succeed())
		issuer := o.issuer(ctx)
		Eventually(ctx, func() error {
			return admin.Get(ctx, client.ObjectKey{Namespace: o.namespace, Name: v1alpha1.CRLConfigMap("ca", shard)}, &corev1.ConfigMap{})
		}).WithTimeout(patience).Should(Succeed())
		o.deleteIssuer(ctx)

		owned := ConsistOf(And(HaveField("Kind", "AcmeIssuer"), HaveField("Name", "ca"), HaveField("UID", issuer.UID)))
		for _, name := range []string{"ca-root", "ca-intermediate", "ca-serial"} {
			Expect(fresh(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: name}}).OwnerReferences).To(owned, name)
		}
		for _, name := range []string{v1alpha1.CRLConfigMap("ca", shard), v1alpha1.TrustConfigMap("ca")} {
			Expect(fresh(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: name}}).OwnerReferences).To(owned, name)
		}
		Expect(fresh(ctx, mine).OwnerReferences).To(BeEmpty(), "it is a person's")
		Expect(fresh(ctx, c.account).OwnerReferences).To(BeEmpty())
		Expect(fresh(ctx, order).Status.State).To(Equal(acme.StateValid))
	})

	It("leaves everything without an owner by default", func(ctx SpecContext) {
		o := newOperator(ctx)
		o.deleteIssuer(ctx)
		var secrets corev1.SecretList
		Expect(admin.List(ctx, &secrets, client.InNamespace(o.namespace))).To(Succeed())
		Expect(secrets.Items).To(HaveLen(3))
		for _, secret := range secrets.Items {
			Expect(secret.OwnerReferences).To(BeEmpty(), secret.Name)
		}
	})
})
