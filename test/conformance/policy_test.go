package conformance

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
)

// registeredAt returns a client with an account at an issuer.
func registeredAt(issuer *v1alpha1.AcmeIssuer, contact ...string) *account {
	GinkgoHelper()
	a := newAccountAt(issuer)
	r := a.register(map[string]any{"termsOfServiceAgreed": true, "contact": contact})
	Expect(r.StatusCode).To(Equal(http.StatusCreated), "%s", r.body)
	return a
}

var _ = Describe("An issuer's own rules", Ordered, func() {
	var issuer *v1alpha1.AcmeIssuer
	BeforeAll(func(ctx SpecContext) {
		issuer = issuerLike(ctx, func(spec *v1alpha1.AcmeIssuerSpec) {
			spec.Policy.Rules = []v1alpha1.PolicyRule{
				{Expression: "!identifiers.exists(i, i.value.startsWith('admin.')) || account.contact.exists(c, c.endsWith('@corp.test'))", Message: "admin names are for contacts at corp.test"},
				{Expression: "identifiers.size() <= 2", Message: "two names at most"},
				{Expression: "csr.keyAlgorithm != 'ECDSA' || csr.keySize >= 384", Message: "ECDSA keys have 384 bits at least"},
			}
		})
	})

	It("apply to new orders and authorizations, and clients get their messages", func() {
		a := registeredAt(issuer)
		r := a.post(a.base+"new-order", map[string]any{"identifiers": names("admin.rules.test")})
		expectProblem(r, http.StatusBadRequest, acme.RejectedIdentifier)
		Expect(r.json()["detail"]).To(Equal("admin names are for contacts at corp.test"))
		r = a.post(a.base+"new-authz", map[string]any{"identifier": names("admin.rules.test")[0]})
		expectProblem(r, http.StatusForbidden, acme.RejectedIdentifier)
		r = a.post(a.base+"new-order", map[string]any{"identifiers": names("a.rules.test", "b.rules.test", "c.rules.test")})
		Expect(r.json()["detail"]).To(Equal("two names at most"))
		b := registeredAt(issuer, "mailto:someone@corp.test")
		Expect(b.newOrder("admin.rules.test").authorize).To(HaveLen(1))
	})

	It("apply to the CSR at finalization, and leave the order ready", func(ctx SpecContext) {
		a := registeredAt(issuer)
		o := a.ready("csr.rules.test")
		r := a.post(o.finalize, map[string]any{"csr": csr(jwstest.NewKey(GinkgoTB(), "ES256"), "csr.rules.test")})
		expectProblem(r, http.StatusBadRequest, acme.BadCSR)
		Expect(r.json()["detail"]).To(Equal("ECDSA keys have 384 bits at least"))
		Expect(a.post(o.url, nil).json()).To(HaveKeyWithValue("status", "ready"))
		Expect(a.post(o.finalize, map[string]any{"csr": csr(jwstest.NewKey(GinkgoTB(), "ES384"), "csr.rules.test")}).StatusCode).To(Equal(http.StatusOK))
		a.download(ctx, o)
	})

	It("that do not compile are named in the issuer's condition, and stop issuance until corrected", func(ctx SpecContext) {
		a := registeredAt(issuer)
		good := issuer.DeepCopy()
		broken := issuer.DeepCopy()
		broken.Spec.Policy.Rules[1].Expression = "identifiers.size() <= 'two'"
		Expect(kube.Patch(ctx, broken, client.MergeFrom(issuer))).To(Succeed())
		Eventually(func(g Gomega) {
			g.Expect(kube.Get(ctx, client.ObjectKeyFromObject(issuer), issuer)).To(Succeed())
			ready := meta.FindStatusCondition(issuer.Status.Conditions, v1alpha1.ConditionReady)
			g.Expect(ready.Reason).To(Equal(v1alpha1.ReasonInvalidSpec))
			g.Expect(ready.Message).To(HavePrefix("spec.policy.rules[1]: "))
		}, "10s", "50ms").Should(Succeed())
		Eventually(func() int {
			return a.post(a.base+"new-order", map[string]any{"identifiers": names("late.rules.test")}).StatusCode
		}, "10s").
			Should(Equal(http.StatusServiceUnavailable))
		changeIssuer(ctx, issuer, func(spec *v1alpha1.AcmeIssuerSpec) { spec.Policy.Rules = good.Spec.Policy.Rules })
		Eventually(func() int {
			return a.post(a.base+"new-order", map[string]any{"identifiers": names("late.rules.test")}).StatusCode
		}, "10s").
			Should(Equal(http.StatusCreated))
	})
})

var _ = Describe("A profile's key algorithms", func() {
	It("limit the keys of certificates, and P-521 must be named", func(ctx SpecContext) {
		issuer := issuerLike(ctx, func(spec *v1alpha1.AcmeIssuerSpec) {
			spec.Profiles = []v1alpha1.Profile{
				{Name: "default", MaxIdentifiers: 1},
				{Name: "strong", MaxIdentifiers: 1, KeyAlgorithms: []v1alpha1.CertificateKeyAlgorithm{v1alpha1.KeyECDSAP384, v1alpha1.KeyECDSAP521}},
			}
		})
		a := registeredAt(issuer)
		for profile, algorithms := range map[string]map[string]bool{
			"default": {"ES512": false, "RS256": true},
			"strong":  {"ES256": false, "RS256": false, "ES512": true},
		} {
			for algorithm, taken := range algorithms {
				name := profile + "." + algorithm + ".keys.test"
				r := a.post(a.base+"new-order", map[string]any{"identifiers": names(name), "profile": profile})
				Expect(r.StatusCode).To(Equal(http.StatusCreated), "%s", r.body)
				o := orderFrom(r)
				a.prove(o.authorize[0])
				r = a.post(o.finalize, map[string]any{"csr": csr(jwstest.NewKey(GinkgoTB(), algorithm), name)})
				if taken {
					Expect(r.StatusCode).To(Equal(http.StatusOK), "%s", r.body)
					a.download(ctx, o)
					continue
				}
				expectProblem(r, http.StatusBadRequest, acme.BadCSR)
			}
		}
	})
})

var _ = Describe("A certificate's key", func() {
	It("that was revoked as compromised is not certified again", func(ctx SpecContext) {
		a := registered("ES256")
		_, der, key := a.issued("leaked.test")
		revocation := map[string]any{"certificate": base64.RawURLEncoding.EncodeToString(der), "reason": 1}
		Expect(a.post(a.base+"revoke-cert", revocation).StatusCode).To(Equal(http.StatusOK))
		b := registered("ES256")
		o := b.ready("again.test")
		r := b.post(o.finalize, map[string]any{"csr": csr(key, "again.test")})
		expectProblem(r, http.StatusBadRequest, acme.BadCSR)
		Expect(r.json()["detail"]).To(ContainSubstring("known to be compromised"))
		Expect(b.post(o.finalize, map[string]any{"csr": csr(jwstest.NewKey(GinkgoTB(), "ES256"), "again.test")}).StatusCode).To(Equal(http.StatusOK))
		b.download(ctx, o)
	})
})

var _ = Describe("An existing CA with name constraints", func() {
	It("certifies names within them, refuses others at new-order, and never certifies its own key", func(ctx SpecContext) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		Expect(err).NotTo(HaveOccurred())
		template := &x509.Certificate{
			SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "Constrained"},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
			PermittedDNSDomains: []string{"within.test"}, PermittedDNSDomainsCritical: true,
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		Expect(err).NotTo(HaveOccurred())
		secret := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: "acmeca-system", Name: "constrained"}, Type: corev1.SecretTypeTLS,
			Data: map[string][]byte{corev1.TLSCertKey: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), corev1.TLSPrivateKeyKey: keyPEM(key)},
		}
		Expect(kube.Create(ctx, secret)).To(Succeed())
		issuer := issuerLike(ctx, func(spec *v1alpha1.AcmeIssuerSpec) {
			spec.CA = v1alpha1.CertificateAuthority{SecretRef: &v1alpha1.ObjectRef{Name: secret.Name}}
		})
		a := registeredAt(issuer)
		r := a.post(a.base+"new-order", map[string]any{"identifiers": names("a.within.test", "b.outside.test", "c.outside.test")})
		expectProblem(r, http.StatusBadRequest, acme.RejectedIdentifier)
		Expect(r.json()["subproblems"]).To(HaveLen(2))

		o := a.ready("a.within.test")
		expectProblem(a.post(o.finalize, map[string]any{"csr": csr(key, "a.within.test")}), http.StatusBadRequest, acme.BadCSR)
		Expect(a.post(o.finalize, map[string]any{"csr": csr(jwstest.NewKey(GinkgoTB(), "ES256"), "a.within.test")}).StatusCode).To(Equal(http.StatusOK))
		_, chain, _ := a.download(ctx, o)
		Expect(trusting(parseDER(der), chain)).To(Succeed())
	})
})

func keyPEM(key crypto.Signer) []byte {
	GinkgoHelper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	Expect(err).NotTo(HaveOccurred())
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
