package podcertificates

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/internal/test/keyservice"
)

var _ = Describe("A Pod's request", func() {
	It("is answered with the names of the Pod's Services and its SPIFFE ID, and recorded", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.service(ctx, "web")
		pod, key := w.pod(ctx, "web-0"), newKey()
		request := w.ask(ctx, pod, key)
		leaf := expectIssued(ctx, request)
		Expect(leaf.DNSNames).To(ConsistOf("web."+w.shop+".svc", "web."+w.shop+".svc.cluster.local"))
		Expect(leaf.URIs).To(HaveLen(1))
		Expect(leaf.URIs[0].String()).To(Equal("spiffe://prod.test/ns/" + w.shop + "/sa/front"))
		Expect(leaf.PublicKey).To(Equal(key.Public()))
		Expect(leaf.NotAfter.Sub(leaf.NotBefore)).To(Equal(24*time.Hour), "the kubelet's default")

		issuer := w.issuer()
		Expect(admin.Get(ctx, client.ObjectKeyFromObject(issuer), issuer)).To(Succeed())
		chain, err := ca.ParseCertificates([]byte(request.Status.CertificateChain))
		Expect(err).NotTo(HaveOccurred())
		roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
		Expect(roots.AppendCertsFromPEM([]byte(issuer.Status.CABundle))).To(BeTrue())
		for _, c := range chain[1:] {
			intermediates.AddCert(c)
		}
		_, err = leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, DNSName: "web." + w.shop + ".svc",
			KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		Expect(err).NotTo(HaveOccurred())

		records := w.records(ctx, "web-0")
		Expect(records).To(HaveLen(1))
		Expect(records[0].Status.State).To(Equal(acme.StateValid))
		Expect(records[0].Status.Certificate).To(Equal(request.Status.CertificateChain))
		Expect(*records[0].Spec.Pod).To(Equal(v1alpha1.PodSource{Namespace: w.shop, Name: "web-0", UID: pod.UID, ServiceAccountName: "front",
			NodeName: nodeName, RequestUID: request.UID, Rule: "mesh", URI: leaf.URIs[0].String()}))
		w.mu.Lock()
		Expect(w.writes).To(Equal(3), "writes for one certificate")
		w.mu.Unlock()
		Expect(w.notes(ctx, "web-0")).To(BeEmpty(), "no Event for a success")
		Expect(w.counted("Issued")).To(BeEquivalentTo(1))
		Expect(w.auditLines()).To(ContainElement(And(ContainSubstring(`"podNamespace"="`+w.shop+`" "pod"="web-0" "serviceAccount"="front" "node"="`+nodeName+`" "rule"="mesh"`),
			ContainSubstring(records[0].Status.Serial), ContainSubstring(`"uri"="`+leaf.URIs[0].String()+`"`))))
	})

	It("gets the shortest lifetime that a Pod can ask for", func(ctx SpecContext) {
		w := newWorld(ctx)
		hour := int32(3600)
		leaf := expectIssued(ctx, w.ask(ctx, w.pod(ctx, "web-0"), newKey(), func(r *certificatesv1.PodCertificateRequest) { r.Spec.MaxExpirationSeconds = &hour }))
		Expect(leaf.NotAfter.Sub(leaf.NotBefore)).To(Equal(time.Hour))
	})

	It("is answered again for the next certificate, with another record", func(ctx SpecContext) {
		w := newWorld(ctx)
		pod := w.pod(ctx, "web-0")
		first := expectIssued(ctx, w.ask(ctx, pod, newKey()))
		second := expectIssued(ctx, w.ask(ctx, pod, newKey()))
		Expect(second.SerialNumber).NotTo(Equal(first.SerialNumber))
		Expect(w.records(ctx, "web-0")).To(HaveLen(2))
	})

	DescribeTable("is denied", func(ctx SpecContext, reason, words string, edit func(*v1alpha1.AcmeIssuerSpec), ask func(*certificatesv1.PodCertificateRequest)) {
		w := newWorld(ctx, edit)
		w.service(ctx, "web")
		request := w.ask(ctx, w.pod(ctx, "web-0"), newKey(), ask)
		gotReason, message := expectDenied(ctx, request)
		Expect(gotReason).To(Equal(reason))
		Expect(message).To(ContainSubstring(words))
		Eventually(ctx, func() map[string]string { return w.notes(ctx, "web-0") }).WithTimeout(patience).
			Should(HaveKeyWithValue("PodCertificateDenied", And(ContainSubstring(reason), ContainSubstring(words))))
		Expect(w.records(ctx, "web-0")).To(BeEmpty())
		Expect(w.counted(reason)).To(BeEquivalentTo(1))
		Expect(w.auditLines()).To(ContainElement(And(ContainSubstring(`"pod"="web-0"`), ContainSubstring(`"problem"="`+reason+`"`), ContainSubstring(words))))
	},
		Entry("if no rule covers the Pod, and the reason names the rule to add", "NotCovered", "add a rule to spec.podCertificates.rules whose namespaceSelector matches",
			func(s *v1alpha1.AcmeIssuerSpec) {
				s.PodCertificates = rule(func(r *v1alpha1.PodCertificateRule) { r.NamespaceSelector.MatchLabels["mesh"] = "off" })
			}, func(*certificatesv1.PodCertificateRequest) {}),
		Entry("if a condition excludes the Pod", "NotCovered", "no rule", func(s *v1alpha1.AcmeIssuerSpec) {
			s.PodCertificates = rule(func(r *v1alpha1.PodCertificateRule) { r.Condition = "serviceAccount.name == 'back'" })
		}, func(*certificatesv1.PodCertificateRequest) {}),
		Entry("if the Pod's author asks by annotations", "InvalidUnverifiedUserAnnotations", "acmeca knows no userAnnotations",
			func(*v1alpha1.AcmeIssuerSpec) {}, func(r *certificatesv1.PodCertificateRequest) {
				r.Spec.UnverifiedUserAnnotations = map[string]string{"example.com/names": "admin.test"}
			}),
		Entry("if the profile lacks the key type", "UnsupportedKeyType", "ECDSAP256", func(*v1alpha1.AcmeIssuerSpec) {}, func(r *certificatesv1.PodCertificateRequest) {
			key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
			Expect(err).NotTo(HaveOccurred())
			r.Spec.StubPKCS10Request, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
			Expect(err).NotTo(HaveOccurred())
		}),
		Entry("if the issuer denies a name", "NamesRefused", "is denied by this issuer's policy", func(s *v1alpha1.AcmeIssuerSpec) { s.Policy.DNS.Deny = []string{"svc"} },
			func(*certificatesv1.PodCertificateRequest) {}),
	)

	It("is denied for a Pod that is gone", func(ctx SpecContext) {
		w := newWorld(ctx)
		pod := w.pod(ctx, "web-0")
		request := w.requestOf(ctx, pod, newKey())
		Expect(admin.Delete(ctx, pod, client.GracePeriodSeconds(0))).To(Succeed())
		Expect(admin.Create(ctx, request)).To(Succeed(), "somebody with the right to create requests, who is no kubelet")
		reason, _ := expectDenied(ctx, request)
		Expect(reason).To(Equal("PodMismatch"))
	})

	It("waits for a Service if the rule requires one", func(ctx SpecContext) {
		w := newWorld(ctx, func(s *v1alpha1.AcmeIssuerSpec) {
			s.PodCertificates = rule(func(r *v1alpha1.PodCertificateRule) { r.Services = v1alpha1.PodServicesRequired })
		})
		request := w.ask(ctx, w.pod(ctx, "web-0"), newKey())
		Eventually(ctx, func() map[string]string { return w.notes(ctx, "web-0") }).WithTimeout(patience).
			Should(HaveKeyWithValue("ServiceMissing", ContainSubstring("no Service selects Pod")))
		Expect(conditionOf(ctx, request)).To(BeZero())
		w.service(ctx, "web")
		Expect(expectIssued(ctx, request).DNSNames).To(ContainElement("web." + w.shop + ".svc"))
	})

	It("waits for its issuer to be enabled", func(ctx SpecContext) {
		w := newWorld(ctx, func(s *v1alpha1.AcmeIssuerSpec) { s.PodCertificates = nil })
		request := w.ask(ctx, w.pod(ctx, "web-0"), newKey())
		Eventually(ctx, func() map[string]string { return w.notes(ctx, "web-0") }).WithTimeout(patience).Should(HaveKey("PodCertificatesNotEnabled"))
		Expect(conditionOf(ctx, request)).To(BeZero())
		w.edit(ctx, func(s *v1alpha1.AcmeIssuerSpec) { s.PodCertificates = rule() })
		expectIssued(ctx, request)
	})

	It("waits while its issuer is suspended", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.edit(ctx, func(s *v1alpha1.AcmeIssuerSpec) { s.Suspend = true })
		Eventually(ctx, func() *metav1.Condition { return w.condition(ctx, v1alpha1.ConditionReady) }).WithTimeout(patience).Should(HaveField("Reason", v1alpha1.ReasonSuspended))
		request := w.ask(ctx, w.pod(ctx, "web-0"), newKey())
		Eventually(ctx, func() map[string]string { return w.notes(ctx, "web-0") }).WithTimeout(patience).Should(HaveKey("IssuerSuspended"))
		w.edit(ctx, func(s *v1alpha1.AcmeIssuerSpec) { s.Suspend = false })
		expectIssued(ctx, request)
	})

	It("waits for the CA's key while the key service is gone", func(ctx SpecContext) {
		service, err := keyservice.New()
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(service.Close)
		w := newWorldWithKeys(ctx, service.Socket, func(s *v1alpha1.AcmeIssuerSpec) { s.CA.SelfSigned.KeyStore = v1alpha1.KeyStoreKeyService })
		signed := service.Signed()
		expectIssued(ctx, w.ask(ctx, w.pod(ctx, "web-0"), newKey()))
		Expect(service.Signed()).To(BeNumerically(">", signed))

		service.Stop()
		request := w.ask(ctx, w.pod(ctx, "web-1"), newKey())
		Eventually(ctx, func() map[string]string { return w.notes(ctx, "web-1") }).WithTimeout(patience).
			Should(HaveKeyWithValue(v1alpha1.ReasonKeyServiceUnavailable, ContainSubstring("the certificate waits for the CA's key")))
		Expect(conditionOf(ctx, request)).To(BeZero())
		Expect(service.Start()).To(Succeed())
		expectIssued(ctx, request)
		Expect(w.records(ctx, "web-1")).To(HaveLen(1))
	})

	It("waits for an issuer that isn't there yet", func(ctx SpecContext) {
		w := newWorld(ctx)
		later := &v1alpha1.AcmeIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: w.pki, Name: "later"}}
		later.Spec = v1alpha1.AcmeIssuerSpec{CA: v1alpha1.CertificateAuthority{SelfSigned: &v1alpha1.SelfSignedCA{}}, PodCertificates: rule()}
		signer := v1alpha1.PodSigner(w.pki, "later")
		pod := w.pod(ctx, "web-0", func(p *corev1.Pod) { p.Spec.Volumes[0].Projected.Sources[0].PodCertificate.SignerName = signer })
		request := w.ask(ctx, pod, newKey(), func(r *certificatesv1.PodCertificateRequest) { r.Spec.SignerName = signer })
		Eventually(ctx, func() map[string]string { return w.notes(ctx, "web-0") }).WithTimeout(patience).
			Should(HaveKeyWithValue("IssuerNotReady", ContainSubstring("there is no AcmeIssuer")))
		Expect(admin.Create(ctx, later)).To(Succeed())
		expectIssued(ctx, request)
	})

	DescribeTable("gets one certificate, whenever the controller dies", func(ctx SpecContext, before string) {
		w := newWorld(ctx)
		w.fail(before)
		request := w.ask(ctx, w.pod(ctx, "web-0"), newKey())
		Eventually(ctx, w.certificates).WithTimeout(patience).ShouldNot(BeEmpty())
		Expect(conditionOf(ctx, request)).To(BeZero())
		w.stop()
		w.fail("")
		w.start()
		expectIssued(ctx, request)
		for _, certificate := range w.certificates() {
			Expect(certificate).To(Equal(request.Status.CertificateChain))
		}
		Expect(w.records(ctx, "web-0")).To(HaveLen(1))
	},
		Entry("before it stores the certificate", "record"),
		Entry("before it delivers the certificate", "answer"),
	)

	It("gets its certificate even if somebody takes the name of the record", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.stop()
		request := w.ask(ctx, w.pod(ctx, "web-0"), newKey())
		squatter := &v1alpha1.AcmeOrder{Spec: v1alpha1.AcmeOrderSpec{
			IssuerRef: v1alpha1.ObjectRef{Name: "ca"}, AccountRef: v1alpha1.ObjectRef{Name: "mallory"},
			Identifiers: []v1alpha1.Identifier{{Type: acme.DNS, Value: "mallory.test"}}, Authorizations: []string{"none"},
		}}
		squatter.Namespace, squatter.Name = w.pki, v1alpha1.PodOrderName("ca", request.UID, request.CreationTimestamp.Time)
		Expect(acmeServer.Create(ctx, squatter)).To(Succeed())
		w.start()
		Expect(expectIssued(ctx, request).DNSNames).To(BeEmpty())
		Expect(w.records(ctx, "web-0")).To(HaveLen(1))
	})

	It("is left alone if another signer answers it", func(ctx SpecContext) {
		w := newWorld(ctx)
		pod := w.pod(ctx, "web-0", func(p *corev1.Pod) {
			p.Spec.Volumes[0].Projected.Sources[0].PodCertificate.SignerName = "example.com/" + w.pki + ".ca"
		})
		other := w.ask(ctx, pod, newKey(), func(r *certificatesv1.PodCertificateRequest) { r.Spec.SignerName = "example.com/" + w.pki + ".ca" })
		expectIssued(ctx, w.ask(ctx, w.pod(ctx, "web-1"), newKey()))
		Expect(conditionOf(ctx, other)).To(BeZero())
	})
})

// counted returns the metric of answers with a reason.
func (w *world) counted(reason string) float64 {
	GinkgoHelper()
	families, err := w.registry.Gather()
	Expect(err).NotTo(HaveOccurred())
	total := 0.0
	for _, family := range families {
		if family.GetName() != "acmeca_pod_certificate_requests_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			for _, label := range m.GetLabel() {
				if label.GetName() == "reason" && label.GetValue() == reason {
					total += m.GetCounter().GetValue()
				}
			}
		}
	}
	return total
}
