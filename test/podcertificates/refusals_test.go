package podcertificates

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/controllers/ca"
)

// The refusals of the API server, met on purpose with the rights of the controllers. Every other spec checks that the controllers meet
// none of them.
var _ = Describe("The API server refuses an answer", func() {
	var authority *ca.Authority
	var request *certificatesv1.PodCertificateRequest
	var controller client.Client
	var w *world
	key := newKeyOnce()
	BeforeEach(func(ctx SpecContext) {
		root, err := ca.NewRoot(ca.CAConfig{CommonName: "Root", KeyAlgorithm: ca.ECDSAP256, Lifetime: 1000 * 24 * time.Hour, Backdate: 24 * time.Hour}, time.Now())
		Expect(err).NotTo(HaveOccurred())
		pem, err := root.KeyPEM()
		Expect(err).NotTo(HaveOccurred())
		authority, err = ca.LoadAuthority(ca.Material{Chain: root.CertificatePEM(), Key: pem, SerialKey: make([]byte, 32)}, time.Now())
		Expect(err).NotTo(HaveOccurred())
		controller = newClient(rest.CopyConfig(controllerConfig))
		w = &world{pki: newNamespace(ctx, "pki-"), shop: newNamespace(ctx, "shop-")} // without controllers
		request = w.ask(ctx, w.pod(ctx, "web-0"), key())
	})

	// answer returns a status with a certificate of a validity, which the API server accepts unless edited.
	answer := func(from, to time.Time, names ...string) certificatesv1.PodCertificateRequestStatus {
		GinkgoHelper()
		csr, err := x509.ParseCertificateRequest(request.Spec.StubPKCS10Request)
		Expect(err).NotTo(HaveOccurred())
		profile, err := ca.NewProfile(ca.ProfileConfig{Name: "default", Lifetime: 400 * 24 * time.Hour})
		Expect(err).NotTo(HaveOccurred())
		r := ca.Request{ID: "id", CSR: csr, OrderedAt: from, FinalizedAt: from, NotBefore: from, NotAfter: to}
		for _, name := range append(names, "web.shop.svc") {
			r.Identifiers = append(r.Identifiers, acme.Identifier{Type: acme.DNS, Value: name})
		}
		leaf, err := authority.Issue(profile, r)
		Expect(err).NotTo(HaveOccurred())
		notBefore, notAfter, refresh := metav1.NewTime(leaf.NotBefore), metav1.NewTime(leaf.NotAfter), metav1.NewTime(leaf.NotBefore.Add(to.Sub(from)/2))
		return certificatesv1.PodCertificateRequestStatus{
			Conditions:       []metav1.Condition{{Type: "Issued", Status: metav1.ConditionTrue, Reason: "Issued", LastTransitionTime: metav1.Now()}},
			CertificateChain: string(ca.EncodeCertificates(leaf)), NotBefore: &notBefore, NotAfter: &notAfter, BeginRefreshAt: &refresh,
		}
	}
	type status = certificatesv1.PodCertificateRequestStatus
	at := func(offset time.Duration) time.Time { return time.Now().Truncate(time.Second).Add(offset) }
	good := func() status { return answer(at(0), at(2*time.Hour)) }

	DescribeTable("with", func(ctx SpecContext, words string, make func() status) {
		request.Status = make()
		err := controller.Status().Update(ctx, request)
		Expect(err).To(MatchError(ContainSubstring(words)))
		Expect(conditionOf(ctx, request)).To(BeZero())
	},
		Entry("two conditions", "There may be at most one condition", func() status {
			s := good()
			s.Conditions = append(s.Conditions, metav1.Condition{Type: "Denied", Status: metav1.ConditionTrue, Reason: "Denied", LastTransitionTime: metav1.Now()})
			return s
		}),
		Entry("a condition of its own", "Unsupported value", func() status {
			return status{Conditions: []metav1.Condition{{Type: "Ready", Status: metav1.ConditionTrue, Reason: "Ready", LastTransitionTime: metav1.Now()}}}
		}),
		Entry("a condition that is false", "Unsupported value", func() status {
			return status{Conditions: []metav1.Condition{{Type: "Denied", Status: metav1.ConditionFalse, Reason: "No", LastTransitionTime: metav1.Now()}}}
		}),
		Entry("a certificate with a denial", "must be empty when denying", func() status {
			s := good()
			s.Conditions[0].Type = "Denied"
			return s
		}),
		Entry("another key", "leaf certificate was not issued to the requested public key", func() status {
			s := good()
			other := *request
			other.Spec.StubPKCS10Request = csrOf(newKey())
			own := request
			request = &other
			defer func() { request = own }()
			s.CertificateChain = good().CertificateChain
			return s
		}),
		Entry("another notBefore than the certificate's, such as parts of a second", "must be set to the NotBefore time", func() status {
			s := good()
			s.NotBefore = &metav1.Time{Time: s.NotBefore.Add(time.Second)}
			return s
		}),
		Entry("an hour of backdating, as ACME clients get", "within 5 minutes of kube-apiserver's current time", func() status { return answer(at(-time.Hour), at(2*time.Hour)) }),
		Entry("a start in the future", "within 5 minutes of kube-apiserver's current time", func() status { return answer(at(6*time.Minute), at(2*time.Hour)) }),
		Entry("a lifetime of less than an hour", "must be >= 1 hour", func() status { return answer(at(0), at(time.Hour-time.Second)) }),
		Entry("a lifetime beyond maxExpirationSeconds", "must be <= spec.maxExpirationSeconds", func() status { return answer(at(0), at(24*time.Hour+time.Second)) }),
		Entry("a refresh at the start", "at least 10 minutes after status.notBefore", func() status {
			s := good()
			s.BeginRefreshAt = &metav1.Time{Time: s.NotBefore.Add(9 * time.Minute)}
			return s
		}),
		Entry("a refresh at the end", "at least 10 minutes before status.notAfter", func() status {
			s := good()
			s.BeginRefreshAt = &metav1.Time{Time: s.NotAfter.Add(-9 * time.Minute)}
			return s
		}),
		Entry("no refresh", "must be present", func() status {
			s := good()
			s.BeginRefreshAt = nil
			return s
		}),
		Entry("a chain of more than 100 KiB", "Too long", func() status {
			s := good()
			s.CertificateChain += strings.Repeat("# text between certificates\n", 100<<10/28)
			return s
		}),
		Entry("something else than certificates", "must consist entirely of", func() status {
			s := good()
			s.CertificateChain += "-----BEGIN NOTHING-----\nAAAA\n-----END NOTHING-----\n"
			return s
		}),
	)

	It("of a user without the verb sign, as invalid", func(ctx SpecContext) {
		config := plane.Config()
		config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:" + w.shop + ":front", Groups: []string{"system:authenticated"}}
		grantStatus(ctx, w.shop, "front")
		request.Status = good()
		Expect(newClient(config).Status().Update(ctx, request)).To(MatchError(And(ContainSubstring("is invalid"), ContainSubstring(`is not permitted to "sign"`))))
	})

	It("after another one", func(ctx SpecContext) {
		request.Status = good()
		Expect(controller.Status().Update(ctx, request)).To(Succeed())
		request.Status = status{Conditions: []metav1.Condition{{Type: "Failed", Status: metav1.ConditionTrue, Reason: "Late", LastTransitionTime: metav1.Now()}}}
		Expect(controller.Status().Update(ctx, request)).To(MatchError(ContainSubstring("immutable after PodCertificateRequest is issued, denied, or failed")))
	})

	It("and requests of short RSA keys, without their signature, or of another Pod", func(ctx SpecContext) {
		pod := w.pod(ctx, "web-1")
		weak, err := rsa.GenerateKey(rand.Reader, 2048)
		Expect(err).NotTo(HaveOccurred())
		broken := func(edit func(*certificatesv1.PodCertificateRequest)) error {
			return kubelet.Create(ctx, w.requestOf(ctx, pod, newKey(), edit))
		}
		Eventually(ctx, func() error {
			return broken(func(r *certificatesv1.PodCertificateRequest) { r.Spec.StubPKCS10Request = csrOf(weak) })
		}).WithTimeout(patience).Should(MatchError(ContainSubstring("RSA keys must have modulus size 3072 or 4096")))
		Expect(broken(func(r *certificatesv1.PodCertificateRequest) {
			r.Spec.StubPKCS10Request[len(r.Spec.StubPKCS10Request)-1] ^= 1
		})).To(MatchError(Or(ContainSubstring("invalid signature"), ContainSubstring("must be a valid PKCS#10 CSR"))))
		other := w.pod(ctx, "elsewhere", func(p *corev1.Pod) { p.Spec.NodeName = "node-2" })
		Eventually(ctx, func() error {
			return broken(func(r *certificatesv1.PodCertificateRequest) { r.Spec.PodName, r.Spec.PodUID = other.Name, other.UID })
		}).WithTimeout(patience).Should(MatchError(ContainSubstring("is not running on node")))
	})
})
