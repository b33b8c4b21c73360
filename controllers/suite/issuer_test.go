package suite

import (
	"context"
	"crypto/x509"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/kube"
	"github.com/acmeca/acmeca/controllers/serversecrets"
)

// broughtCA returns a root and an intermediate for spec.ca.secretRef.
func broughtCA(now time.Time, lifetime time.Duration) (root, intermediate *ca.KeyPair) {
	GinkgoHelper()
	config := ca.CAConfig{CommonName: "brought", KeyAlgorithm: ca.ECDSAP256, Lifetime: lifetime, Backdate: time.Minute}
	root, err := ca.NewRoot(config, now)
	Expect(err).NotTo(HaveOccurred())
	config.CommonName += " intermediate"
	intermediate, err = ca.NewIntermediate(config, root, now)
	Expect(err).NotTo(HaveOccurred())
	return root, intermediate
}

func tlsData(pair *ca.KeyPair, above ...*x509.Certificate) map[string][]byte {
	GinkgoHelper()
	key, err := pair.KeyPEM()
	Expect(err).NotTo(HaveOccurred())
	return map[string][]byte{corev1.TLSCertKey: ca.EncodeCertificates(append([]*x509.Certificate{pair.Certificate}, above...)...), corev1.TLSPrivateKeyKey: key}
}

// bring stores a CA in a Secret.
func (w *issuerWorld) bring(ctx context.Context, name string, kind corev1.SecretType, data map[string][]byte) *corev1.Secret {
	GinkgoHelper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}, Type: kind, Data: data}
	Expect(admin.Create(ctx, secret)).To(Succeed())
	return secret
}

func byReference(name string) v1alpha1.AcmeIssuerSpec {
	return v1alpha1.AcmeIssuerSpec{CA: v1alpha1.CertificateAuthority{SecretRef: &v1alpha1.ObjectRef{Name: name}}}
}

var _ = Describe("An issuer with a CA that a person brought", func() {
	var w *issuerWorld
	var root, intermediate *ca.KeyPair
	BeforeEach(func(ctx SpecContext) {
		w = newIssuerWorld(ctx, byReference("brought"))
		root, intermediate = broughtCA(w.clock.Now(), 1000*time.Hour)
	})

	DescribeTable("says which field is at fault and why", func(ctx SpecContext, kind corev1.SecretType, data func() map[string][]byte, why string) {
		if data != nil {
			w.bring(ctx, "brought", kind, data())
		}
		ready := readyOf(w.reconcile(ctx))
		Expect(ready.Status).To(Equal(metav1.ConditionFalse))
		Expect(ready.Reason).To(Equal(v1alpha1.ReasonCAUnavailable))
		Expect(ready.Message).To(And(HavePrefix("spec.ca.secretRef: "), ContainSubstring(`"brought"`), ContainSubstring(why)))
		Expect(w.canIssue()).To(BeFalse())
		Expect(w.events.taken()).To(ConsistOf(And(HavePrefix("Warning CAUnavailable"), ContainSubstring(why))))
		w.reconcile(ctx)
		Expect(w.events.taken()).To(BeEmpty(), "said once")
	},
		Entry("where there is no Secret", corev1.SecretTypeTLS, nil, "there is no Secret"),
		Entry("where it is of another type", corev1.SecretTypeOpaque, func() map[string][]byte { return tlsData(intermediate, root.Certificate) }, `is of type "Opaque"`),
		Entry("where the key is another's", corev1.SecretTypeTLS, func() map[string][]byte {
			data := tlsData(intermediate)
			data[corev1.TLSPrivateKeyKey] = tlsData(root)[corev1.TLSPrivateKeyKey]
			return data
		}, "the private key does not belong to the first certificate"),
		Entry("where there is no certificate", corev1.SecretTypeTLS, func() map[string][]byte {
			return map[string][]byte{corev1.TLSCertKey: []byte("x"), corev1.TLSPrivateKeyKey: tlsData(root)[corev1.TLSPrivateKeyKey]}
		}, "has no PEM block"),
		Entry("where the chain is broken", corev1.SecretTypeTLS, func() map[string][]byte {
			other, _ := broughtCA(w.clock.Now(), time.Hour)
			return tlsData(intermediate, other.Certificate)
		}, "is not signed by the next one"),
		Entry("where it has expired", corev1.SecretTypeTLS, func() map[string][]byte {
			_, old := broughtCA(w.clock.Now().Add(-10*time.Hour), time.Hour)
			return tlsData(old)
		}, "expired at"),
	)

	It("works without the root, and with it beside", func(ctx SpecContext) {
		secret := w.bring(ctx, "brought", corev1.SecretTypeTLS, tlsData(intermediate))
		Expect(readyOf(w.reconcile(ctx)).Reason).To(Equal(v1alpha1.ReasonReady))
		Expect(bundleOf(w.issuer(ctx))).To(ConsistOf(intermediate.Certificate), "no root is known")
		secret.Data["ca.crt"] = root.CertificatePEM()
		Expect(admin.Update(ctx, secret)).To(Succeed())
		Expect(bundleOf(w.reconcile(ctx))).To(ConsistOf(root.Certificate))
		Expect(w.verify(w.issue("a.test"), root.Certificate)).To(Succeed())
		before := w.versions(ctx)
		w.reconcile(ctx)
		Expect(w.versions(ctx)).To(Equal(before))
	})

	It("keeps using its CA if the Secret is deleted or corrupt, and says so", func(ctx SpecContext) {
		secret := w.bring(ctx, "brought", corev1.SecretTypeTLS, tlsData(intermediate, root.Certificate))
		good := w.reconcile(ctx)
		expectToGoOn := func(why string) {
			GinkgoHelper()
			w.events.taken()
			issuer := w.reconcile(ctx)
			Expect(readyOf(issuer).Status).To(Equal(metav1.ConditionTrue))
			Expect(readyOf(issuer).Reason).To(Equal(v1alpha1.ReasonDegraded))
			Expect(readyOf(issuer).Message).To(And(ContainSubstring("stays in use"), ContainSubstring(why)))
			Expect(w.events.taken()).To(ConsistOf(HavePrefix("Warning Degraded")))
			Expect(issuer.Status.IssuingCertificate).To(Equal(good.Status.IssuingCertificate))
			Expect(w.verify(w.issue("a.test"), root.Certificate)).To(Succeed())
		}
		Expect(admin.Delete(ctx, w.secret(ctx, "brought"))).To(Succeed())
		expectToGoOn("there is no Secret")
		mixed := w.bring(ctx, "brought", corev1.SecretTypeTLS, map[string][]byte{
			corev1.TLSCertKey: tlsData(intermediate)[corev1.TLSCertKey], corev1.TLSPrivateKeyKey: tlsData(root)[corev1.TLSPrivateKeyKey],
		})
		expectToGoOn("does not belong")
		mixed.Data = secret.Data
		Expect(admin.Update(ctx, mixed)).To(Succeed())
		Expect(readyOf(w.reconcile(ctx)).Reason).To(Equal(v1alpha1.ReasonReady))
	})

	It("stops using its CA if another Secret is named, the CA has expired, or it isn't loaded", func(ctx SpecContext) {
		w.bring(ctx, "brought", corev1.SecretTypeTLS, tlsData(intermediate, root.Certificate))
		w.reconcile(ctx)
		w.edit(ctx, func(issuer *v1alpha1.AcmeIssuer) { issuer.Spec.CA.SecretRef.Name = "mistyped" })
		Expect(readyOf(w.reconcile(ctx)).Reason).To(Equal(v1alpha1.ReasonCAUnavailable))
		Expect(w.canIssue()).To(BeFalse())
		w.edit(ctx, func(issuer *v1alpha1.AcmeIssuer) { issuer.Spec.CA.SecretRef.Name = "brought" })
		Expect(readyOf(w.reconcile(ctx)).Reason).To(Equal(v1alpha1.ReasonReady))

		Expect(admin.Delete(ctx, w.secret(ctx, "brought"))).To(Succeed())
		w.reconcile(ctx)
		Expect(w.canIssue()).To(BeTrue())
		w.clock.SetTime(intermediate.Certificate.NotAfter.Add(time.Second))
		Expect(readyOf(w.reconcile(ctx)).Reason).To(Equal(v1alpha1.ReasonCAUnavailable))
		Expect(w.canIssue()).To(BeFalse())
		w.clock.SetTime(intermediate.Certificate.NotBefore.Add(time.Hour))
		w.restart()
		Expect(readyOf(w.reconcile(ctx)).Reason).To(Equal(v1alpha1.ReasonCAUnavailable))
		Expect(w.canIssue()).To(BeFalse())
	})

	It("gets CRLs signed by previous CAs that spec.ca.retired names", func(ctx SpecContext) {
		secret := w.bring(ctx, "brought", corev1.SecretTypeTLS, tlsData(intermediate, root.Certificate))
		w.reconcile(ctx)
		_, second := broughtCA(w.clock.Now(), 1000*time.Hour)
		secret.Data = tlsData(second)
		Expect(admin.Update(ctx, secret)).To(Succeed())
		w.events.taken()
		w.reconcile(ctx)
		Expect(w.events.taken()).To(ConsistOf(And(HavePrefix("Warning CAReplaced"), ContainSubstring("spec.ca.retired"))))
		shard := v1alpha1.CRLShardName(intermediate.Certificate, 0)
		Expect(w.loaded().AuthorityOf(shard)).To(BeNil())

		w.edit(ctx, func(issuer *v1alpha1.AcmeIssuer) { issuer.Spec.CA.Retired = []v1alpha1.ObjectRef{{Name: "old"}} })
		Expect(readyOf(w.reconcile(ctx)).Message).To(ContainSubstring(`the retired CA in Secret "old" signs no CRLs`))
		w.bring(ctx, "old", corev1.SecretTypeTLS, tlsData(intermediate, root.Certificate))
		issuer := w.reconcile(ctx)
		Expect(readyOf(issuer).Reason).To(Equal(v1alpha1.ReasonReady))
		Expect(w.loaded().AuthorityOf(shard)).NotTo(BeNil())
		Expect(issuer.Status.RetiredCertificates).To(Equal(string(intermediate.CertificatePEM())))
	})
})

var _ = Describe("An issuer whose spec becomes invalid", func() {
	It("issues nothing until it is corrected, but still revokes, and replaces its CA", func(ctx SpecContext) {
		w := newIssuerWorld(ctx, selfSigned(v1alpha1.SelfSignedCA{}))
		good := w.reconcile(ctx)
		w.edit(ctx, func(issuer *v1alpha1.AcmeIssuer) {
			issuer.Spec.DefaultProfile = "nonesuch"
			kube.Annotate(issuer, v1alpha1.RotateIntermediateAnnotation, "now")
		})
		issuer := w.reconcile(ctx)
		Expect(readyOf(issuer).Reason).To(Equal(v1alpha1.ReasonInvalidSpec))
		Expect(readyOf(issuer).Message).To(HavePrefix("spec.defaultProfile"))
		Expect(w.canIssue()).To(BeFalse())
		Expect(issuer.Status.DirectoryURL).To(Equal(good.Status.DirectoryURL))
		Expect(issuer.Status.IssuingCertificate).NotTo(Equal(good.Status.IssuingCertificate))
		Expect(w.loaded().Retired).To(HaveLen(1))
		w.restart()
		w.reconcile(ctx)
		Expect(w.canIssue()).To(BeFalse())
		Expect(w.loaded().Authority).NotTo(BeNil())
		w.edit(ctx, func(issuer *v1alpha1.AcmeIssuer) { issuer.Spec.DefaultProfile = "" })
		Expect(readyOf(w.reconcile(ctx)).Status).To(Equal(metav1.ConditionTrue))
		Expect(w.canIssue()).To(BeTrue())
	})

	It("is told of bounds that contradict each other by the API server", func(ctx SpecContext) {
		w := newIssuerWorld(ctx, selfSigned(v1alpha1.SelfSignedCA{}))
		issuer := w.issuer(ctx)
		shorter := hours(1)
		issuer.Spec.Profiles[0].MaxLifetime = &shorter
		Expect(admin.Update(ctx, issuer)).To(MatchError(ContainSubstring("maxLifetime must not be below lifetime")))
	})
})

var _ = Describe("The Secrets of a CA that the operator made", func() {
	var w *issuerWorld
	var good *v1alpha1.AcmeIssuer
	BeforeEach(func(ctx SpecContext) {
		w = newIssuerWorld(ctx, selfSigned(v1alpha1.SelfSignedCA{}))
		good = w.reconcile(ctx)
	})

	It("are never replaced by those of a new root while clients trust the lost one", func(ctx SpecContext) {
		for _, name := range []string{"ca-root", "ca-intermediate"} {
			Expect(admin.Delete(ctx, w.secret(ctx, name))).To(Succeed())
		}
		issuer := w.reconcile(ctx)
		Expect(readyOf(issuer).Reason).To(Equal(v1alpha1.ReasonDegraded))
		w.issue("still.test")
		w.restart()
		issuer = w.reconcile(ctx)
		Expect(readyOf(issuer).Reason).To(Equal(v1alpha1.ReasonCAUnavailable))
		Expect(readyOf(issuer).Message).To(ContainSubstring(`"ca-root" and "ca-intermediate" are gone`))
		Expect(issuer.Status.CABundle).To(Equal(good.Status.CABundle))
	})

	It("lead to a new intermediate under the same root if the intermediate's is lost, with a warning", func(ctx SpecContext) {
		Expect(admin.Delete(ctx, w.secret(ctx, "ca-intermediate"))).To(Succeed())
		w.events.taken()
		issuer := w.reconcile(ctx)
		Expect(readyOf(issuer).Reason).To(Equal(v1alpha1.ReasonReady))
		Expect(issuer.Status.CABundle).To(Equal(good.Status.CABundle))
		Expect(issuer.Status.IssuingCertificate).NotTo(Equal(good.Status.IssuingCertificate))
		Expect(w.events.taken()).To(ContainElement(HavePrefix("Warning IntermediateLost")))
	})

	It("are named in the condition if one is corrupt", func(ctx SpecContext) {
		for name, field := range map[string]string{"ca-serial": "key", "ca-intermediate": corev1.TLSPrivateKeyKey} {
			secret := w.secret(ctx, name)
			was := secret.Data[field]
			secret.Data[field] = []byte("short")
			Expect(admin.Update(ctx, secret)).To(Succeed())
			w.restart()
			ready := readyOf(w.reconcile(ctx))
			Expect(ready.Reason).To(Equal(v1alpha1.ReasonCAUnavailable))
			Expect(ready.Message).To(ContainSubstring(`"` + name + `"`))
			secret.Data[field] = was
			Expect(admin.Update(ctx, secret)).To(Succeed())
			Expect(readyOf(w.reconcile(ctx)).Reason).To(Equal(v1alpha1.ReasonReady))
		}
	})

	It("outlive the issuer, and are used by one that is created again", func(ctx SpecContext) {
		w.delete(ctx)
		_, loaded := w.reconciler.Issuers.Loaded(w.namespace, "ca")
		Expect(loaded).To(BeFalse())
		w.create(ctx, selfSigned(v1alpha1.SelfSignedCA{}))
		Expect(w.reconcile(ctx).Status.IssuingCertificate).To(Equal(good.Status.IssuingCertificate))
	})

	It("have the key algorithm of the spec", func(ctx SpecContext) {
		for _, algorithm := range []v1alpha1.KeyAlgorithm{"ECDSA-P384", "RSA-2048", "Ed25519"} {
			w := newIssuerWorld(ctx, selfSigned(v1alpha1.SelfSignedCA{KeyAlgorithm: algorithm}))
			issuer := w.reconcile(ctx)
			Expect(w.verify(w.issue("a.test"), bundleOf(issuer)...)).To(Succeed())
		}
	})
})

var _ = Describe("The ACME server's TLS certificate", func() {
	It("is kept by the default issuer alone, follows its CA, and is no reason not to issue", func(ctx SpecContext) {
		w := newIssuerWorld(ctx, selfSigned(v1alpha1.SelfSignedCA{}))
		serve := func() {
			w.reconciler.DefaultIssuer = w.key()
			w.reconciler.ServerTLS = &serversecrets.TLSCertificate{Client: w.faults.client(), Secret: w.key(), Clock: w.clock}
			w.reconciler.ServerTLS.Secret.Name = "server-tls"
		}
		serve()
		bundle := bundleOf(w.reconcile(ctx))
		served := func() []*x509.Certificate {
			chain, err := ca.ParseCertificates(w.secret(ctx, "server-tls").Data[corev1.TLSCertKey])
			Expect(err).NotTo(HaveOccurred())
			return chain
		}
		first := served()
		Expect(first[0].VerifyHostname("acme.test")).To(Succeed())
		Expect(w.verify(first, bundle...)).To(Succeed())

		version := w.secret(ctx, "server-tls").ResourceVersion
		w.reconcile(ctx)
		Expect(w.secret(ctx, "server-tls").ResourceVersion).To(Equal(version))

		w.annotate(ctx, v1alpha1.RotateIntermediateAnnotation, "now")
		w.reconcile(ctx)
		second := served()
		Expect(second[1].Equal(first[1])).To(BeFalse())
		Expect(w.verify(second, bundle...)).To(Succeed())

		w.clock.SetTime(second[0].NotAfter.Add(-time.Hour))
		w.edit(ctx, func(issuer *v1alpha1.AcmeIssuer) { issuer.Spec.DefaultProfile = "nonesuch" })
		w.reconcile(ctx)
		Expect(served()[0].NotAfter).To(BeTemporally(">", w.clock.Now().Add(24*time.Hour)), "other issuers are served with it")

		w.edit(ctx, func(issuer *v1alpha1.AcmeIssuer) { issuer.Spec.DefaultProfile = "" })
		w.reconciler.ServerTLS.Names = []string{"under_score.test"}
		ready := readyOf(w.reconcile(ctx))
		Expect(ready.Status).To(Equal(metav1.ConditionTrue))
		Expect(ready.Message).To(ContainSubstring("TLS certificate can't be made"))
	})
})
