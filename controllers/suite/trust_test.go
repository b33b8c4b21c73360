package suite

import (
	"context"
	"crypto/x509"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/issuer"
	"github.com/acmeca/acmeca/controllers/kube"
)

// withoutBundles is a client of an API server without ClusterTrustBundles.
type withoutBundles struct{ client.Client }

func (withoutBundles) RESTMapper() meta.RESTMapper { return meta.NewDefaultRESTMapper(nil) }

var _ = Describe("The roots of an issuer", func() {
	var w *issuerWorld
	var good *v1alpha1.AcmeIssuer
	BeforeEach(func(ctx SpecContext) {
		w = newIssuerWorld(ctx, selfSigned(v1alpha1.SelfSignedCA{}))
		good = w.reconcile(ctx)
	})
	configMap := func(ctx context.Context) *corev1.ConfigMap {
		GinkgoHelper()
		c := &corev1.ConfigMap{}
		Expect(admin.Get(ctx, client.ObjectKey{Namespace: w.namespace, Name: "ca-ca"}, c)).To(Succeed())
		return c
	}
	bundle := func(ctx context.Context) (*certificatesv1.ClusterTrustBundle, error) {
		b := &certificatesv1.ClusterTrustBundle{}
		return b, admin.Get(ctx, client.ObjectKey{Name: "acmeca.dev:" + w.namespace + ".ca:ca"}, b)
	}
	optIn := func(ctx context.Context, wanted bool) {
		GinkgoHelper()
		w.edit(ctx, func(issuer *v1alpha1.AcmeIssuer) { issuer.Spec.Trust.ClusterTrustBundle = wanted })
	}

	It("are in a ConfigMap that is kept so", func(ctx SpecContext) {
		Expect(configMap(ctx).Data).To(Equal(map[string]string{"ca.crt": good.Status.CABundle}))
		spoiled := configMap(ctx)
		spoiled.Data["ca.crt"] = "nobody"
		spoiled.Data["note"] = "a person's"
		Expect(admin.Update(ctx, spoiled)).To(Succeed())
		w.reconcile(ctx)
		Expect(configMap(ctx).Data).To(Equal(map[string]string{"ca.crt": good.Status.CABundle, "note": "a person's"}))
		before := w.versions(ctx)
		w.reconcile(ctx)
		Expect(w.versions(ctx)).To(Equal(before))
		Expect(before).To(HaveKey("configMap ca-ca"))
	})

	It("have the CRLs of all CAs beside them, or the URL if they don't fit", func(ctx SpecContext) {
		chain, err := ca.ParseCertificates([]byte(good.Status.IssuingCertificate.Chain))
		Expect(err).NotTo(HaveOccurred())
		root := bundleOf(good)[0]
		publish := func(authority *x509.Certificate, crl []byte) string {
			GinkgoHelper()
			c := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: v1alpha1.CRLConfigMap("ca", v1alpha1.CAName(authority))},
				BinaryData: map[string][]byte{v1alpha1.CRLField: crl}}
			Expect(client.IgnoreNotFound(admin.Delete(ctx, c.DeepCopy()))).To(Succeed())
			Expect(admin.Create(ctx, c)).To(Succeed())
			w.reconcile(ctx)
			return configMap(ctx).Data["crls.pem"]
		}
		issuing := string(v1alpha1.EncodeCRL([]byte("of the intermediate")))
		Expect(publish(root, []byte("of the root"))).To(BeEmpty(), "without the CRL of the intermediate the file is not complete")
		Expect(publish(chain[0], []byte("of the intermediate"))).To(Equal(issuing + string(v1alpha1.EncodeCRL([]byte("of the root")))))
		before := w.versions(ctx)
		w.reconcile(ctx)
		Expect(w.versions(ctx)).To(Equal(before))
		Expect(publish(root, []byte("the root's next"))).To(Equal(issuing + string(v1alpha1.EncodeCRL([]byte("the root's next")))))
		Expect(publish(chain[0], make([]byte, 900_000))).To(And(HavePrefix("# "), ContainSubstring("/crl/all.pem"), Not(ContainSubstring("BEGIN"))))
		Expect(configMap(ctx).Data).To(HaveKeyWithValue("ca.crt", good.Status.CABundle))
	})

	It("are never written over a ConfigMap of somebody else, and the issuer says so", func(ctx SpecContext) {
		Expect(admin.Delete(ctx, configMap(ctx))).To(Succeed())
		foreign := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "ca-ca"}, Data: map[string]string{"ca.crt": "theirs"}}
		Expect(admin.Create(ctx, foreign)).To(Succeed())
		issuer := w.reconcile(ctx)
		Expect(readyOf(issuer).Status).To(Equal(metav1.ConditionTrue))
		Expect(readyOf(issuer).Message).To(ContainSubstring(`the ConfigMap "ca-ca" belongs to somebody else`))
		Expect(configMap(ctx).Data).To(Equal(foreign.Data))
	})

	It("are published everywhere before anything is issued from a new one, also where that is killed on the way", func(ctx SpecContext) {
		optIn(ctx, true)
		w.edit(ctx, func(issuer *v1alpha1.AcmeIssuer) {
			issuer.Spec.CA.SelfSigned.RootOverlap = &metav1.Duration{}
			kube.Annotate(issuer, v1alpha1.RotateRootAnnotation, "now")
		})
		old := string(w.secret(ctx, "ca-root").Data[corev1.TLSCertKey])
		under := func() string { return string(w.secret(ctx, "ca-intermediate").Data["ca.crt"]) }
		for n := 1; under() == old; n++ {
			w.faults.from(n)
			_ = w.try(ctx)
			w.faults.none()
			w.restart()
			Expect(n).To(BeNumerically("<", 10), "it never ends")
		}
		published, err := bundle(ctx)
		Expect(err).NotTo(HaveOccurred())
		for where, roots := range map[string]string{
			"status": w.issuer(ctx).Status.CABundle, "ConfigMap": configMap(ctx).Data["ca.crt"], "ClusterTrustBundle": published.Spec.TrustBundle,
		} {
			Expect(roots).To(And(ContainSubstring(old), ContainSubstring(under())), where)
		}
	})

	It("are in a ClusterTrustBundle of the issuer's own signer for as long as that is wanted", func(ctx SpecContext) {
		_, err := bundle(ctx)
		Expect(err).To(MatchError(apierrors.IsNotFound, "IsNotFound"))
		optIn(ctx, true)
		Expect(readyOf(w.reconcile(ctx)).Reason).To(Equal(v1alpha1.ReasonReady))
		b, err := bundle(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(b.Spec.SignerName).To(Equal("acmeca.dev/" + w.namespace + ".ca"))
		Expect(b.Spec.TrustBundle).To(Equal(good.Status.CABundle))
		w.clock.Step(time.Minute)
		w.reconcile(ctx)
		again, err := bundle(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(again.ResourceVersion).To(Equal(b.ResourceVersion))
		optIn(ctx, false)
		w.reconcile(ctx)
		_, err = bundle(ctx)
		Expect(err).To(MatchError(apierrors.IsNotFound, "IsNotFound"))

		optIn(ctx, true)
		w.reconcile(ctx)
		w.delete(ctx)
		_, err = bundle(ctx)
		Expect(err).To(MatchError(apierrors.IsNotFound, "IsNotFound"), "after the issuer")
		Expect(configMap(ctx).Data).To(HaveKeyWithValue("ca.crt", good.Status.CABundle))
	})

	It("are as good without ClusterTrustBundles where the API server has none, which the issuer says", func(ctx SpecContext) {
		w.reconciler.Trust.Client = withoutBundles{w.reconciler.Trust.Client}
		w.reconcile(ctx)
		optIn(ctx, true)
		issuer := w.reconcile(ctx)
		Expect(readyOf(issuer).Status).To(Equal(metav1.ConditionTrue))
		Expect(readyOf(issuer).Message).To(ContainSubstring("spec.trust.clusterTrustBundle: this API server doesn't serve"))
	})
})

var _ = Describe("The roots of an issuer in other namespaces", func() {
	var w *issuerWorld
	var good *v1alpha1.AcmeIssuer
	BeforeEach(func(ctx SpecContext) {
		w = newIssuerWorld(ctx, selfSigned(v1alpha1.SelfSignedCA{}))
		good = w.reconcile(ctx)
		w.edit(ctx, func(issuer *v1alpha1.AcmeIssuer) { issuer.Spec.Trust.LabelledNamespaces = true })
	})
	// label sets the label of a namespace, or removes it.
	label := func(ctx context.Context, namespace, value string) {
		GinkgoHelper()
		object := &corev1.Namespace{}
		Expect(admin.Get(ctx, client.ObjectKey{Name: namespace}, object)).To(Succeed())
		if delete(object.Labels, "trust.acmeca.dev/ca"); value != "" {
			object.Labels["trust.acmeca.dev/ca"] = value
		}
		Expect(admin.Update(ctx, object)).To(Succeed())
	}
	// labelled makes a namespace with the label.
	labelled := func(ctx SpecContext, value string) string {
		GinkgoHelper()
		name := newNamespace(ctx)
		label(ctx, name, value)
		return name
	}
	copyIn := func(ctx context.Context, namespace string) (*corev1.ConfigMap, error) {
		c := &corev1.ConfigMap{}
		return c, admin.Get(ctx, client.ObjectKey{Namespace: namespace, Name: w.namespace + ".ca-ca"}, c)
	}
	// round reconciles twice, as the write of the status does, after the least time between two rounds.
	round := func(ctx context.Context) *v1alpha1.AcmeIssuer {
		GinkgoHelper()
		w.clock.Step(time.Minute)
		w.reconcile(ctx)
		return w.reconcile(ctx)
	}
	absent := func(ctx context.Context, namespace string) {
		GinkgoHelper()
		_, err := copyIn(ctx, namespace)
		Expect(err).To(MatchError(apierrors.IsNotFound, "IsNotFound"))
	}

	It("are where the namespace names the issuer and the issuer allows it, for as long as both hold", func(ctx SpecContext) {
		asking, other, silent := labelled(ctx, w.namespace), labelled(ctx, "another"), labelled(ctx, "")
		reconciled := round(ctx)
		Expect(readyOf(reconciled).Reason).To(Equal(v1alpha1.ReasonReady))
		Expect(reconciled.Status.TrustNamespaces).To(Equal([]string{asking}))
		c, err := copyIn(ctx, asking)
		Expect(err).NotTo(HaveOccurred())
		Expect(c.Data).To(Equal(map[string]string{"ca.crt": good.Status.CABundle}))
		absent(ctx, other)
		absent(ctx, silent)
		Expect(round(ctx).Status.TrustNamespaces).To(Equal([]string{asking}))
		same, err := copyIn(ctx, asking)
		Expect(err).NotTo(HaveOccurred())
		Expect(same.ResourceVersion).To(Equal(c.ResourceVersion))

		label(ctx, asking, "")
		Expect(round(ctx).Status.TrustNamespaces).To(BeEmpty())
		absent(ctx, asking)

		label(ctx, asking, w.namespace)
		round(ctx)
		w.edit(ctx, func(issuer *v1alpha1.AcmeIssuer) { issuer.Spec.Trust.LabelledNamespaces = false })
		Expect(w.reconcile(ctx).Status.TrustNamespaces).To(BeEmpty())
		absent(ctx, asking)

		w.edit(ctx, func(issuer *v1alpha1.AcmeIssuer) { issuer.Spec.Trust.LabelledNamespaces = true })
		round(ctx)
		_, err = copyIn(ctx, asking)
		Expect(err).NotTo(HaveOccurred())
		w.delete(ctx)
		absent(ctx, asking)
	})

	It("follow the roots and CRLs, also after a person changed them, but are not written at each change", func(ctx SpecContext) {
		namespace := labelled(ctx, w.namespace)
		round(ctx)
		chain, err := ca.ParseCertificates([]byte(good.Status.IssuingCertificate.Chain))
		Expect(err).NotTo(HaveOccurred())
		head := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: v1alpha1.CRLConfigMap("ca", v1alpha1.CAName(chain[0]))},
			BinaryData: map[string][]byte{v1alpha1.CRLField: []byte("first")}}
		Expect(admin.Create(ctx, head)).To(Succeed())
		w.reconcile(ctx)
		c, err := copyIn(ctx, namespace)
		Expect(err).NotTo(HaveOccurred())
		Expect(c.Data).NotTo(HaveKey("crls.pem"), "within a minute of the last round")
		c.Data["ca.crt"], c.Data["note"] = "nobody", "a person's"
		Expect(admin.Update(ctx, c)).To(Succeed())
		round(ctx)
		c, err = copyIn(ctx, namespace)
		Expect(err).NotTo(HaveOccurred())
		Expect(c.Data).To(Equal(map[string]string{"ca.crt": good.Status.CABundle, "crls.pem": string(v1alpha1.EncodeCRL([]byte("first"))), "note": "a person's"}))
	})

	It("never replace or delete a ConfigMap of somebody else, and the others get theirs", func(ctx SpecContext) {
		taken, free := labelled(ctx, w.namespace), labelled(ctx, w.namespace)
		foreign := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: taken, Name: w.namespace + ".ca-ca"}, Data: map[string]string{"ca.crt": "theirs"}}
		Expect(admin.Create(ctx, foreign)).To(Succeed())
		reconciled := round(ctx)
		Expect(readyOf(reconciled).Reason).To(Equal(v1alpha1.ReasonDegraded))
		Expect(readyOf(reconciled).Message).To(And(ContainSubstring("spec.trust.labelledNamespaces: "+taken), ContainSubstring("belongs to somebody else")))
		Expect(readyOf(w.reconcile(ctx)).Reason).To(Equal(v1alpha1.ReasonDegraded), "also between two rounds")
		_, err := copyIn(ctx, free)
		Expect(err).NotTo(HaveOccurred())
		label(ctx, taken, "")
		Expect(readyOf(round(ctx)).Reason).To(Equal(v1alpha1.ReasonReady))
		kept, err := copyIn(ctx, taken)
		Expect(err).NotTo(HaveOccurred())
		Expect(kept.Data).To(Equal(foreign.Data))
	})

	It("need a right that no installation has by default, and the issuer says so", func(ctx SpecContext) {
		namespace := labelled(ctx, w.namespace)
		round(ctx)
		controllers, err := client.New(controllerConfig(), client.Options{Scheme: scheme})
		Expect(err).NotTo(HaveOccurred())
		w.reconciler.TrustCopies = &issuer.TrustCopies{Client: controllers, Live: controllers, Clock: w.clock}
		refused := w.reconcile(ctx)
		Expect(readyOf(refused).Reason).To(Equal(v1alpha1.ReasonDegraded))
		Expect(readyOf(refused).Message).To(And(ContainSubstring("spec.trust.labelledNamespaces"), ContainSubstring("cannot list resource \"namespaces\"")))
		Expect(refused.Status.TrustNamespaces).To(Equal([]string{namespace}), "nothing is removed for a missing right")

		Expect(plane.ApplyProject(ctx, "config/trust-namespaces")).To(Succeed())
		Expect(readyOf(round(ctx)).Reason).To(Equal(v1alpha1.ReasonReady))
		label(ctx, namespace, "")
		Expect(readyOf(round(ctx)).Reason).To(Equal(v1alpha1.ReasonReady))
		absent(ctx, namespace)
	})
})
