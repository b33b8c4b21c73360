package suite

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/serversecrets"
)

// signedBy returns a certificate like a template, with a key of its own; self-signed without a signer.
func signedBy(signer *ca.KeyPair, template *x509.Certificate, now time.Time) *ca.KeyPair {
	GinkgoHelper()
	key, err := ca.GenerateKey(ca.ECDSAP256)
	Expect(err).NotTo(HaveOccurred())
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(now.UnixNano()), now.Add(-time.Minute), now.Add(time.Hour)
	template.BasicConstraintsValid = true
	if signer == nil {
		signer = &ca.KeyPair{Certificate: template, Key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer.Certificate, key.Public(), signer.Key)
	Expect(err).NotTo(HaveOccurred())
	certificate, err := x509.ParseCertificate(der)
	Expect(err).NotTo(HaveOccurred())
	return &ca.KeyPair{Certificate: certificate, Key: key}
}

// serverOnly returns a CA below which only server certificates are valid.
func serverOnly(root *ca.KeyPair, now time.Time) *ca.KeyPair {
	GinkgoHelper()
	return signedBy(root, &x509.Certificate{
		Subject: pkix.Name{CommonName: "servers"}, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, now)
}

func notACA(now time.Time) *ca.KeyPair {
	GinkgoHelper()
	return signedBy(nil, &x509.Certificate{Subject: pkix.Name{CommonName: "leaf"}, DNSNames: []string{"leaf.test"}, KeyUsage: x509.KeyUsageDigitalSignature}, now)
}

var _ = Describe("An issuer's status", func() {
	It("says where it is served, what to trust and what signs", func(ctx SpecContext) {
		w := newIssuerWorld(ctx, selfSigned(v1alpha1.SelfSignedCA{CommonName: "Corp", Organization: "Corp Ltd"}))
		issuer := w.reconcile(ctx)
		base := "https://acme.test/" + w.namespace + "/ca"
		Expect(issuer.Status.BaseURLs).To(ConsistOf(base))
		Expect(issuer.Status.DirectoryURL).To(Equal(base + "/acme/directory"))
		Expect(issuer.Status.ObservedGeneration).To(Equal(issuer.Generation))
		ready := readyOf(issuer)
		Expect(ready).To(And(HaveField("Status", metav1.ConditionTrue), HaveField("ObservedGeneration", issuer.Generation)))

		roots := bundleOf(issuer)
		Expect(roots).To(HaveLen(1))
		Expect(roots[0].Subject.String()).To(Equal("CN=Corp,O=Corp Ltd"))
		signing := issuer.Status.IssuingCertificate
		Expect(signing.Subject).To(Equal("CN=Corp Intermediate,O=Corp Ltd"))
		chain, err := ca.ParseCertificates([]byte(signing.Chain))
		Expect(err).NotTo(HaveOccurred())
		Expect(chain[0].CheckSignatureFrom(roots[0])).To(Succeed())
		Expect(signing.NotAfter.Time).To(BeTemporally("==", chain[0].NotAfter))
	})

	It("has the short URL of the default issuer first, and each of the URLs that the issuer names", func(ctx SpecContext) {
		spec := selfSigned(v1alpha1.SelfSignedCA{})
		spec.ExternalURLs = []string{"https://inside.test", "https://outside.test/pki"}
		w := newIssuerWorld(ctx, spec)
		w.reconciler.DefaultIssuer = w.key()
		issuer := w.reconcile(ctx)
		long := "/" + w.namespace + "/ca"
		Expect(issuer.Status.BaseURLs).To(Equal([]string{
			"https://inside.test", "https://inside.test" + long, "https://outside.test/pki", "https://outside.test/pki" + long,
		}))
		Expect(issuer.Status.DirectoryURL).To(Equal("https://inside.test/acme/directory"))
	})

	It("keeps the keys in Secrets that are marked as the issuer's and go with nobody", func(ctx SpecContext) {
		w := newIssuerWorld(ctx, selfSigned(v1alpha1.SelfSignedCA{}))
		w.reconcile(ctx)
		for name, kind := range map[string]corev1.SecretType{
			"ca-root": corev1.SecretTypeTLS, "ca-intermediate": corev1.SecretTypeTLS, "ca-serial": corev1.SecretTypeOpaque,
		} {
			secret := w.secret(ctx, name)
			Expect(secret.Type).To(Equal(kind))
			Expect(secret.Labels).To(HaveKeyWithValue(v1alpha1.IssuerLabel, "ca"))
			Expect(secret.OwnerReferences).To(BeEmpty())
			Expect(secret.Finalizers).To(BeEmpty())
		}
	})

	It("says that it is suspended, and keeps what clients were told", func(ctx SpecContext) {
		w := newIssuerWorld(ctx, selfSigned(v1alpha1.SelfSignedCA{}))
		before := w.reconcile(ctx)
		w.edit(ctx, func(issuer *v1alpha1.AcmeIssuer) { issuer.Spec.Suspend = true })
		issuer := w.reconcile(ctx)
		Expect(readyOf(issuer)).To(And(HaveField("Status", metav1.ConditionFalse), HaveField("Reason", v1alpha1.ReasonSuspended)))
		Expect(issuer.Status.CABundle).To(Equal(before.Status.CABundle))
		Expect(issuer.Status.DirectoryURL).To(Equal(before.Status.DirectoryURL))
	})

	DescribeTable("names the invalid field of the spec, until it is corrected", func(ctx SpecContext, spoil, field string) {
		w := newIssuerWorld(ctx, selfSigned(v1alpha1.SelfSignedCA{}))
		good := w.reconcile(ctx)
		spoiled := client.RawPatch(types.MergePatchType, []byte(`{"spec": `+spoil+`}`))
		Expect(admin.Patch(ctx, w.issuer(ctx), spoiled)).To(Succeed())
		issuer := w.reconcile(ctx)
		Expect(readyOf(issuer)).To(And(
			HaveField("Status", metav1.ConditionFalse), HaveField("Reason", v1alpha1.ReasonInvalidSpec),
			HaveField("Message", HavePrefix(field)), HaveField("ObservedGeneration", issuer.Generation),
		))
		Expect(w.canIssue()).To(BeFalse())
		Expect(issuer.Status.CABundle).To(Equal(good.Status.CABundle))
		w.edit(ctx, func(issuer *v1alpha1.AcmeIssuer) { issuer.Spec = good.Spec })
		Expect(readyOf(w.reconcile(ctx)).Reason).To(Equal(v1alpha1.ReasonReady))
		Expect(w.canIssue()).To(BeTrue())
	},
		Entry("no profiles", `{"profiles": []}`, "spec.profiles"),
		Entry("a default profile that isn't there", `{"defaultProfile": "gone"}`, "spec.defaultProfile"),
		Entry("a resolver that is no address", `{"validation": {"resolvers": ["10.0.0.1", "::::"]}}`, "spec.validation"),
		Entry("a resolver's port that is none", `{"validation": {"resolvers": ["10.0.0.1:99999"]}}`, "spec.validation"),
		Entry("a name for CAA that is none", `{"validation": {"caaIdentities": ["not a name"]}}`, "spec.validation"),
		Entry("persistent records that could name nobody", `{"challenges": {"types": ["dns-persist-01"]}}`, "spec.validation.caaIdentities"),
	)

	It("says which profile the CA can't be used for", func(ctx SpecContext) {
		w := newIssuerWorld(ctx, byReference("brought"))
		root, _ := broughtCA(w.clock.Now(), 1000*time.Hour)
		w.bring(ctx, "brought", corev1.SecretTypeTLS, tlsData(serverOnly(root, w.clock.Now()), root.Certificate))
		Expect(readyOf(w.reconcile(ctx)).Reason).To(Equal(v1alpha1.ReasonReady))
		w.edit(ctx, func(issuer *v1alpha1.AcmeIssuer) {
			issuer.Spec.Profiles[0].Usages = []v1alpha1.Usage{v1alpha1.UsageClientAuth}
		})
		Expect(readyOf(w.reconcile(ctx))).To(And(HaveField("Reason", v1alpha1.ReasonInvalidSpec), HaveField("Message", HavePrefix("spec.profiles[0].usages"))))
	})

	DescribeTable("says that a ResourceQuota has no room for its objects, until it has", func(ctx SpecContext, resource corev1.ResourceName) {
		w := newIssuerWorld(ctx, selfSigned(v1alpha1.SelfSignedCA{}))
		none := corev1.ResourceList{resource: apiresource.MustParse("0")}
		quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "none"}, Spec: corev1.ResourceQuotaSpec{Hard: none}}
		Expect(admin.Create(ctx, quota)).To(Succeed())
		quota.Status = corev1.ResourceQuotaStatus{Hard: none, Used: none} // no kube-controller-manager computes it here
		Expect(admin.Status().Update(ctx, quota)).To(Succeed())
		Eventually(func() error {
			object := map[corev1.ResourceName]client.Object{corev1.ResourceSecrets: &corev1.Secret{}, corev1.ResourceConfigMaps: &corev1.ConfigMap{}}[resource]
			object.SetNamespace(w.namespace)
			object.SetName("probe")
			return admin.Create(ctx, object, client.DryRunAll)
		}).Should(MatchError(ContainSubstring("exceeded quota")))
		Eventually(func(g Gomega) {
			g.Expect(w.try(ctx)).To(Succeed())
			ready := readyOf(w.issuer(ctx))
			g.Expect(ready.Status).To(Equal(metav1.ConditionFalse))
			g.Expect(ready.Reason).To(Equal(v1alpha1.ReasonCAUnavailable))
			g.Expect(ready.Message).To(ContainSubstring("exceeded quota: none"))
		}).Should(Succeed())
		Expect(w.events.taken()).To(ConsistOf(ContainSubstring("exceeded quota: none")))
		Expect(w.issuer(ctx).Status.CABundle).To(BeEmpty())
		Expect(w.canIssue()).To(BeFalse())

		Expect(admin.Delete(ctx, quota)).To(Succeed())
		Eventually(func(g Gomega) {
			g.Expect(w.try(ctx)).To(Succeed())
			g.Expect(readyOf(w.issuer(ctx)).Status).To(Equal(metav1.ConditionTrue))
		}).Should(Succeed())
		Expect(w.canIssue()).To(BeTrue())
	},
		Entry("for Secrets", corev1.ResourceSecrets),
		Entry("for ConfigMaps", corev1.ResourceConfigMaps),
	)

	It("says that its namespace can't be served", func(ctx SpecContext) {
		Expect(admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "acme"}})).To(Succeed())
		w := newIssuerWorld(ctx, selfSigned(v1alpha1.SelfSignedCA{}))
		w.namespace = "acme"
		w.create(ctx, selfSigned(v1alpha1.SelfSignedCA{}))
		Expect(readyOf(w.reconcile(ctx)).Message).To(HavePrefix("metadata.namespace"))
	})

	It("says that the CA that a person brought does not fit, until another one does", func(ctx SpecContext) {
		w := newIssuerWorld(ctx, byReference("brought"))
		long := signedBy(nil, &x509.Certificate{
			Subject: pkix.Name{CommonName: "long", OrganizationalUnit: []string{strings.Repeat("x", 1100)}},
			IsCA:    true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		}, w.clock.Now())
		secret := w.bring(ctx, "brought", corev1.SecretTypeTLS, tlsData(long))
		ready := readyOf(w.reconcile(ctx))
		Expect(ready.Status).To(Equal(metav1.ConditionFalse))
		Expect(ready.Message).To(And(HavePrefix("the CA does not fit"), ContainSubstring("status.issuingCertificate.subject")))
		Expect(w.events.taken()).To(ConsistOf(ContainSubstring("status.issuingCertificate.subject")))
		Expect(w.canIssue()).To(BeFalse())
		Expect(w.issuer(ctx).Status.IssuingCertificate).To(BeNil())

		root, intermediate := broughtCA(w.clock.Now(), 1000*time.Hour)
		secret.Data = tlsData(intermediate, root.Certificate)
		Expect(admin.Update(ctx, secret)).To(Succeed())
		Expect(readyOf(w.reconcile(ctx)).Reason).To(Equal(v1alpha1.ReasonReady))
		Expect(w.canIssue()).To(BeTrue())
	})

	DescribeTable("names a CA that a person brought and that is none, until there is one", func(ctx SpecContext, data func(w *issuerWorld) map[string][]byte, words string) {
		w := newIssuerWorld(ctx, byReference("brought"))
		secret := w.bring(ctx, "brought", corev1.SecretTypeTLS, data(w))
		Expect(readyOf(w.reconcile(ctx))).To(And(
			HaveField("Status", metav1.ConditionFalse), HaveField("Reason", v1alpha1.ReasonCAUnavailable),
			HaveField("Message", And(HavePrefix("spec.ca.secretRef: "), ContainSubstring(words))),
		))
		root, intermediate := broughtCA(w.clock.Now(), 1000*time.Hour)
		secret.Data = tlsData(intermediate, root.Certificate)
		Expect(admin.Update(ctx, secret)).To(Succeed())
		Expect(readyOf(w.reconcile(ctx)).Reason).To(Equal(v1alpha1.ReasonReady))
		Expect(w.verify(w.issue("a.test"), root.Certificate)).To(Succeed())
	},
		Entry("since it may not sign certificates", func(w *issuerWorld) map[string][]byte { return tlsData(notACA(w.clock.Now())) }, "CA"),
		Entry("since its key can't be read", func(w *issuerWorld) map[string][]byte {
			root, _ := broughtCA(w.clock.Now(), time.Hour)
			data := tlsData(root)
			data[corev1.TLSPrivateKeyKey] = []byte("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n")
			return data
		}, "key"),
		Entry("since it isn't valid yet", func(w *issuerWorld) map[string][]byte {
			root, _ := broughtCA(w.clock.Now().Add(10*time.Hour), time.Hour)
			return tlsData(root)
		}, "not valid before"),
	)
})

var _ = Describe("The ACME server's TLS Secret", func() {
	const name = "server-tls"
	serve := func(w *issuerWorld, names ...string) {
		w.reconciler.DefaultIssuer = w.key()
		w.reconciler.ServerTLS = &serversecrets.TLSCertificate{Client: w.faults.client(), Secret: w.key(), Names: names, Clock: w.clock}
		w.reconciler.ServerTLS.Secret.Name = name
	}
	var w *issuerWorld
	BeforeEach(func(ctx SpecContext) {
		spec := selfSigned(v1alpha1.SelfSignedCA{})
		spec.Policy.DNS.Allow = []string{"none.test"} // no host of another spec's issuer
		w = newIssuerWorld(ctx, spec)
	})

	served := func(ctx SpecContext) []byte {
		GinkgoHelper()
		secret := w.secret(ctx, name)
		Expect(secret.Type).To(Equal(corev1.SecretTypeTLS))
		_, err := ca.ParseKeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
		Expect(err).NotTo(HaveOccurred())
		return secret.Data[corev1.TLSCertKey]
	}

	It("is issued again when the names change, and not when one is dropped", func(ctx SpecContext) {
		serve(w, "one.test", "10.0.0.1", "fd00::1")
		w.reconcile(ctx)
		first := served(ctx)
		certificates, err := ca.ParseCertificates(first)
		Expect(err).NotTo(HaveOccurred())
		Expect(certificates[0].DNSNames).To(ConsistOf("acme.test", "one.test"))
		Expect(certificates[0].IPAddresses).To(HaveLen(2))
		serve(w, "one.test")
		w.reconcile(ctx)
		Expect(served(ctx)).To(Equal(first))
		serve(w, "one.test", "two.test")
		w.reconcile(ctx)
		Expect(served(ctx)).NotTo(Equal(first))
	})

	It("has the hosts of other issuers' URLs that the default issuer may certify", func(ctx SpecContext) {
		w.edit(ctx, func(issuer *v1alpha1.AcmeIssuer) {
			issuer.Spec.Policy.DNS.Allow, issuer.Spec.Policy.IP.Allow = []string{"tls.example"}, []string{"10.2.0.0/16"}
		})
		serve(w)
		w.reconcile(ctx)
		first := served(ctx)
		for name, urls := range map[string][]string{
			"one": {"https://one.tls.example:8443/base", "https://one.tls.example", "https://10.2.0.7"},
			"two": {"https://bank.example", "https://10.3.0.7", "https://two.tls.example"},
		} {
			spec := selfSigned(v1alpha1.SelfSignedCA{})
			spec.ExternalURLs = urls
			Expect(admin.Create(ctx, &v1alpha1.AcmeIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}, Spec: spec})).To(Succeed())
		}
		w.reconcile(ctx)
		second := served(ctx)
		Expect(second).NotTo(Equal(first))
		certificates, err := ca.ParseCertificates(second)
		Expect(err).NotTo(HaveOccurred())
		Expect(certificates[0].DNSNames).To(ConsistOf("acme.test", "one.tls.example", "two.tls.example"))
		Expect(certificates[0].IPAddresses).To(HaveLen(1))
		Expect(certificates[0].IPAddresses[0].String()).To(Equal("10.2.0.7"))
		w.reconcile(ctx)
		Expect(served(ctx)).To(Equal(second))
	})

	It("is renewed when a third of its life is left", func(ctx SpecContext) {
		serve(w)
		w.reconcile(ctx)
		first := served(ctx)
		w.clock.Step(serversecrets.TLSCertificateLifetime * 2 / 3 / 10 * 9)
		w.reconcile(ctx)
		Expect(served(ctx)).To(Equal(first))
		w.clock.Step(serversecrets.TLSCertificateLifetime / 10)
		w.reconcile(ctx)
		Expect(served(ctx)).NotTo(Equal(first))
	})

	DescribeTable("is repaired", func(ctx SpecContext, spoil func(map[string][]byte)) {
		serve(w)
		w.reconcile(ctx)
		secret := w.secret(ctx, name)
		spoil(secret.Data)
		Expect(admin.Update(ctx, secret)).To(Succeed())
		w.reconcile(ctx)
		served(ctx)
	},
		Entry("where its certificate is gone", func(data map[string][]byte) { data[corev1.TLSCertKey] = nil }),
		Entry("where its certificate is none", func(data map[string][]byte) { data[corev1.TLSCertKey] = []byte("none") }),
		Entry("where its key is gone", func(data map[string][]byte) { data[corev1.TLSPrivateKeyKey] = nil }),
		Entry("where its key is another's", func(data map[string][]byte) {
			key, err := ca.GenerateKey(ca.ECDSAP256)
			Expect(err).NotTo(HaveOccurred())
			data[corev1.TLSPrivateKeyKey], err = ca.MarshalKeyPEM(key)
			Expect(err).NotTo(HaveOccurred())
		}),
	)

	It("that can't be written is no reason not to issue, and is named", func(ctx SpecContext) {
		serve(w)
		Expect(admin.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}, Type: corev1.SecretTypeOpaque})).To(Succeed())
		ready := readyOf(w.reconcile(ctx))
		Expect(ready).To(And(HaveField("Status", metav1.ConditionTrue), HaveField("Reason", v1alpha1.ReasonDegraded), HaveField("Message", ContainSubstring(name))))
		Expect(w.canIssue()).To(BeTrue())
	})
})
