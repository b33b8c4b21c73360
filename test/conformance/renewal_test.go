package conformance

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
)

// certID returns the certificate identifier, derived from the certificate alone (RFC 9773 section 4.1).
func certID(der []byte) string {
	GinkgoHelper()
	certificate, err := x509.ParseCertificate(der)
	Expect(err).NotTo(HaveOccurred())
	serial := certificate.SerialNumber.Bytes()
	if serial[0] >= 0x80 {
		serial = append([]byte{0}, serial...)
	}
	encode := base64.RawURLEncoding.EncodeToString
	return encode(certificate.AuthorityKeyId) + "." + encode(serial)
}

// renewal is a renewal information object.
type renewal struct {
	SuggestedWindow struct{ Start, End time.Time }
	ExplanationURL  string
}

func (w *wire) renewalInfo(id string) (renewal, *reply) {
	GinkgoHelper()
	r := w.get("renewal-info/" + id)
	var info renewal
	if r.StatusCode == http.StatusOK {
		Expect(json.Unmarshal(r.body, &info)).To(Succeed())
		Expect(info.SuggestedWindow.End).To(BeTemporally(">", info.SuggestedWindow.Start))
	}
	return info, r
}

var _ = Describe("Renewal information (RFC 9773)", func() {
	It("is in the directory, and is readable by anyone without a signature (section 3 and 4.1)", func() {
		a := registered("ES256")
		_, der, _ := a.issued("renew.test")
		Expect(a.get("directory").json()).To(HaveKeyWithValue("renewalInfo", a.base+"renewal-info"))
		info, r := newWire().renewalInfo(certID(der))
		Expect(r.StatusCode).To(Equal(http.StatusOK), "%s", r.body)
		Expect(r.Header.Get("Content-Type")).To(Equal("application/json"))
		certificate, err := x509.ParseCertificate(der)
		Expect(err).NotTo(HaveOccurred())
		life := certificate.NotAfter.Sub(certificate.NotBefore)
		Expect(info.SuggestedWindow.Start).To(BeTemporally(">=", certificate.NotBefore.Add(life*2/3).Add(-time.Second)))
		Expect(info.SuggestedWindow.End).To(BeTemporally("<=", certificate.NotBefore.Add(life*3/4).Add(time.Second)))
		Expect(info.ExplanationURL).To(BeEmpty())
	})

	It("has a Retry-After, and may be cached for a while (section 4.3 and 6)", func() {
		a := registered("ES256")
		_, der, _ := a.issued("again.test")
		_, r := a.renewalInfo(certID(der))
		seconds, err := strconv.Atoi(r.Header.Get("Retry-After"))
		Expect(err).NotTo(HaveOccurred())
		Expect(seconds).To(BeNumerically("~", 6*3600, 6*3600-60))
		Expect(r.Header.Get("Cache-Control")).To(HavePrefix("public, max-age="))
		Expect(r.Header.Values("Replay-Nonce")).To(BeEmpty())
	})

	It("has a window in the past for a revoked certificate", func() {
		a := registered("ES256")
		_, der, _ := a.issued("revoked.test")
		Expect(a.post(a.base+"revoke-cert", map[string]any{"certificate": jwstest.Encode(GinkgoTB(), der)}).StatusCode).To(Equal(http.StatusOK))
		info, _ := a.renewalInfo(certID(der))
		Expect(info.SuggestedWindow.End).To(BeTemporally("<=", time.Now()))
	})

	It("has a window in the past for certificates issued before a time set by the issuer, with an explanation", func(ctx SpecContext) {
		const why = "https://ca.example/incident"
		issuer := issuerLike(ctx, func(*v1alpha1.AcmeIssuerSpec) {})
		a := newAccountAt(issuer)
		a.register(map[string]any{})
		_, old, _ := a.issued("planned.test")
		now := metav1.NewTime(time.Now().Add(time.Second).Truncate(time.Second))
		changeIssuer(ctx, issuer, func(spec *v1alpha1.AcmeIssuerSpec) {
			spec.RenewalInfo = v1alpha1.RenewalInfo{RenewIssuedBefore: &now, ExplanationURL: why}
		})
		Eventually(func(g Gomega) {
			info, _ := a.renewalInfo(certID(old))
			g.Expect(info.SuggestedWindow.Start).To(BeTemporally("==", now.Time))
			g.Expect(info.ExplanationURL).To(Equal(why))
		}, "10s").Should(Succeed())
		Eventually(time.Now, "5s").Should(BeTemporally(">", now.Add(time.Second)))
		_, renewed, _ := a.issued("planned.test")
		info, _ := a.renewalInfo(certID(renewed))
		Expect(info.SuggestedWindow.Start).To(BeTemporally(">", time.Now().Add(24*time.Hour)), "a renewed certificate is not renewed again")
		Expect(info.ExplanationURL).To(BeEmpty())
	})

	It("has a window in the past for certificates with a replaced root or a removed CA, and not for those of an intermediate with a successor below the same root", func(ctx SpecContext) {
		issuer := issuerLike(ctx, func(spec *v1alpha1.AcmeIssuerSpec) {
			spec.CA.SelfSigned = &v1alpha1.SelfSignedCA{CommonName: "replaced", RootOverlap: ptr.To(metav1.Duration{})}
		})
		replaced := func(by string) {
			GinkgoHelper()
			Eventually(ctx, func(g Gomega) {
				g.Expect(kube.Get(ctx, client.ObjectKeyFromObject(issuer), issuer)).To(Succeed())
				g.Expect(issuer.Status.IssuingCertificate.Subject).To(Equal("CN=" + by))
			}, "30s", "50ms").Should(Succeed())
			waitForServer(ctx, issuer.Namespace)
		}
		a := newAccountAt(issuer)
		a.register(map[string]any{})
		_, first, _ := a.obtain(ctx, "replaced.test")
		ordinary, _ := a.renewalInfo(certID(first[0].Raw))
		Expect(ordinary.SuggestedWindow.Start).To(BeTemporally(">", time.Now().Add(24*time.Hour)))

		By("another intermediate below the same root")
		annotate(ctx, issuer, v1alpha1.RotateIntermediateAnnotation)
		replaced("replaced Intermediate 2")
		still, _ := a.renewalInfo(certID(first[0].Raw))
		Expect(still.SuggestedWindow).To(Equal(ordinary.SuggestedWindow))
		_, second, _ := a.obtain(ctx, "replaced.test")

		By("removing the former intermediate")
		retired := &corev1.Secret{}
		retired.Namespace, retired.Name = issuer.Namespace, issuer.Name+"-intermediate-"+v1alpha1.CAName(first[1])
		Expect(kube.Delete(ctx, retired)).To(Succeed())
		annotate(ctx, issuer, "looked-at")
		Eventually(func() time.Time {
			info, _ := a.renewalInfo(certID(first[0].Raw))
			return info.SuggestedWindow.Start
		}, "30s").Should(BeTemporally("<=", time.Now()))
		info, _ := a.renewalInfo(certID(second[0].Raw))
		Expect(info.SuggestedWindow.Start).To(BeTemporally(">", time.Now().Add(24*time.Hour)))

		By("another root")
		annotate(ctx, issuer, v1alpha1.RotateRootAnnotation)
		replaced("replaced Intermediate 3")
		info, _ = a.renewalInfo(certID(second[0].Raw))
		Expect(info.SuggestedWindow.Start).To(BeTemporally("<=", time.Now()))
		_, renewed, _ := a.issued("replaced.test")
		info, _ = a.renewalInfo(certID(renewed))
		Expect(info.SuggestedWindow.Start).To(BeTemporally(">", time.Now().Add(24*time.Hour)))
	})

	It("is absent for other certificates, and malformed identifiers are refused as malformed", func(ctx SpecContext) {
		a := registered("ES256")
		_, der, _ := a.issued("theirs.test")
		id := certID(der)
		key, serial, _ := strings.Cut(id, ".")
		elsewhere := newAccountAt(issuerLike(ctx, func(*v1alpha1.AcmeIssuerSpec) {}))
		_, r := elsewhere.renewalInfo(id)
		expectProblem(r, http.StatusNotFound, acme.Malformed)
		_, r = a.renewalInfo(key + ".AQ")
		expectProblem(r, http.StatusNotFound, acme.Malformed)
		_, r = a.renewalInfo("AQ." + serial)
		expectProblem(r, http.StatusNotFound, acme.Malformed)
		for _, bad := range []string{key, id + ".AQ", id + "=", key + ".", "." + serial, strings.Repeat("A", 4000) + ".AQ"} {
			_, r := a.renewalInfo(bad)
			expectProblem(r, http.StatusBadRequest, acme.Malformed)
		}
		Expect(a.do(http.MethodGet, a.base+"renewal-info", "", nil).StatusCode).To(Equal(http.StatusNotFound))
		expectProblem(a.post(a.base+"renewal-info/"+id, nil), http.StatusMethodNotAllowed, acme.Malformed)
	})
})

var _ = Describe("An order that replaces a certificate (RFC 9773 section 5)", func() {
	replacing := func(a *account, id string, values ...string) *reply {
		GinkgoHelper()
		return a.post(a.base+"new-order", map[string]any{"identifiers": names(values...), "replaces": id})
	}

	It("names the replaced certificate, in its answer and in its object", func(ctx SpecContext) {
		a := registered("ES256")
		_, der, _ := a.issued("one.test", "two.test")
		r := replacing(a, certID(der), "two.test", "three.test")
		Expect(r.StatusCode).To(Equal(http.StatusCreated), "%s", r.body)
		Expect(r.json()).To(HaveKeyWithValue("replaces", certID(der)))
		Expect(a.post(r.Header.Get("Location"), nil).json()).To(HaveKeyWithValue("replaces", certID(der)))
		stored := &v1alpha1.AcmeOrder{}
		fetch(ctx, r.Header.Get("Location"), stored)
		Expect(stored.Spec.Replaces).To(Equal(certID(der)))
	})

	It("is the only one, unless it fails (409 alreadyReplaced)", func() {
		a := registered("ES256")
		_, der, _ := a.issued("once.test")
		r := replacing(a, certID(der), "once.test")
		Expect(r.StatusCode).To(Equal(http.StatusCreated), "%s", r.body)
		expectProblem(replacing(a, certID(der), "once.test"), http.StatusConflict, acme.AlreadyReplaced)
		first := orderFrom(r)
		a.post(first.authorize[0], map[string]any{"status": "deactivated"})
		Eventually(func() any { return a.post(first.url, nil).json()["status"] }, "10s").Should(Equal("invalid"))
		Expect(replacing(a, certID(der), "once.test").StatusCode).To(Equal(http.StatusCreated))
	})

	It("replaces a certificate of the same account, for one of its names", func() {
		a, other := registered("ES256"), registered("ES256")
		_, der, _ := a.issued("own.test")
		expectProblem(replacing(other, certID(der), "own.test"), http.StatusBadRequest, acme.Malformed)
		expectProblem(replacing(a, certID(der), "different.test"), http.StatusBadRequest, acme.Malformed)
		key, _, _ := strings.Cut(certID(der), ".")
		expectProblem(replacing(a, key+".AQ", "own.test"), http.StatusBadRequest, acme.Malformed)
		expectProblem(replacing(a, "nonsense", "own.test"), http.StatusBadRequest, acme.Malformed)
		Expect(replacing(a, certID(der), "own.test").StatusCode).To(Equal(http.StatusCreated))
	})
})
