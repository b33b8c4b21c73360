package conformance

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
)

// download returns the chain of a client's order, and the URLs of the alternate chains.
func (a *account) download(ctx context.Context, o *order) (url string, chain []*x509.Certificate, alternates []string) {
	GinkgoHelper()
	Eventually(ctx, func() any { o.document = a.post(o.url, nil).json(); return o.document["status"] }, "10s").Should(Equal("valid"))
	url = o.document["certificate"].(string)
	r := a.post(url, nil)
	Expect(r.StatusCode).To(Equal(http.StatusOK), "%s", r.body)
	return url, parseChain(r.body), r.links("alternate")
}

// obtain obtains a certificate.
func (a *account) obtain(ctx context.Context, name string) (url string, chain []*x509.Certificate, alternates []string) {
	GinkgoHelper()
	o := a.ready(name)
	r := a.post(o.finalize, map[string]any{"csr": csr(jwstest.NewKey(GinkgoTB(), "ES256"), name)})
	Expect(r.StatusCode).To(Equal(http.StatusOK), "%s", r.body)
	return a.download(ctx, o)
}

// trusting verifies a chain as a client does that trusts one root.
func trusting(root *x509.Certificate, chain []*x509.Certificate) error {
	options := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool()}
	options.Roots.AddCert(root)
	for _, c := range chain[1:] {
		options.Intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(options)
	return err
}

// annotate sets an annotation, as kubectl does.
func annotate(ctx context.Context, issuer *v1alpha1.AcmeIssuer, name string) {
	GinkgoHelper()
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, name, time.Now())
	Expect(kube.Patch(ctx, issuer, client.RawPatch(types.MergePatchType, []byte(patch)))).To(Succeed())
}

// opensslVerify checks a certificate, its chain and its CRL as served, with an implementation other than Go's.
func opensslVerify(w *wire, root *x509.Certificate, chain []*x509.Certificate) string {
	GinkgoHelper()
	crl := w.do(http.MethodGet, chain[0].CRLDistributionPoints[0], "", nil)
	Expect(crl.StatusCode).To(Equal(http.StatusOK))
	issuing := parseDER(w.do(http.MethodGet, chain[0].IssuingCertificateURL[0], "", nil).body)
	dir := GinkgoT().TempDir()
	write := func(name, kind string, ders ...[]byte) string {
		var text bytes.Buffer
		for _, der := range ders {
			Expect(pem.Encode(&text, &pem.Block{Type: kind, Bytes: der})).To(Succeed())
		}
		path := filepath.Join(dir, name)
		Expect(os.WriteFile(path, text.Bytes(), 0o600)).To(Succeed())
		return path
	}
	var above [][]byte
	for _, c := range chain[1:] {
		above = append(above, c.Raw)
	}
	output, _ := exec.Command("openssl", "verify", "-x509_strict", "-crl_check", "-purpose", "sslserver", //nolint:gosec // our own files
		"-CAfile", write("root.pem", "CERTIFICATE", root.Raw),
		"-untrusted", write("chain.pem", "CERTIFICATE", append(above, issuing.Raw)...),
		"-CRLfile", write("crl.pem", "X509 CRL", crl.body),
		write("leaf.pem", "CERTIFICATE", chain[0].Raw)).CombinedOutput() // openssl prints the error
	return string(output)
}

var _ = Describe("A CA during its rotation", Ordered, func() {
	var issuer *v1alpha1.AcmeIssuer
	var a *account
	var beforeURL string
	var before, kept, after []*x509.Certificate
	var first, second *x509.Certificate
	BeforeAll(func(ctx SpecContext) {
		issuer = issuerLike(ctx, func(spec *v1alpha1.AcmeIssuerSpec) {
			spec.CA.SelfSigned = &v1alpha1.SelfSignedCA{CommonName: "Rotated", RootOverlap: ptr.To(metav1.Duration{})}
			spec.Trust.ClusterTrustBundle = true
		})
		a = newAccountAt(issuer)
		Expect(a.register(map[string]any{"termsOfServiceAgreed": true}).StatusCode).To(Equal(http.StatusCreated))
	})

	It("serves one chain while it has one root", func(ctx SpecContext) {
		var alternates []string
		beforeURL, before, alternates = a.obtain(ctx, "before.test")
		Expect(alternates).To(BeEmpty())
		Expect(before).To(HaveLen(2))
		first = parseChain([]byte(issuer.Status.CABundle))[0]
		Expect(trusting(first, before)).To(Succeed())
		_, kept, _ = a.obtain(ctx, "kept.test")
	})

	It("has both roots in its bundle, and a chain to each, the shorter one as the alternate (RFC 8555 section 7.4.2)", func(ctx SpecContext) {
		annotate(ctx, issuer, v1alpha1.RotateRootAnnotation)
		Eventually(ctx, func(g Gomega) {
			g.Expect(kube.Get(ctx, client.ObjectKeyFromObject(issuer), issuer)).To(Succeed())
			g.Expect(issuer.Status.IssuingCertificate.Subject).To(Equal("CN=Rotated Intermediate 2"))
		}, "30s", "50ms").Should(Succeed())
		roots := parseChain(newWire().at(issuer).do(http.MethodGet, strings.TrimSuffix(a.base, "acme/")+"ca.crt", "", nil).body)
		Expect(roots).To(HaveLen(2))
		Expect(roots[1].Equal(first)).To(BeTrue())
		second = roots[0]
		published, forAll := &corev1.ConfigMap{}, &certificatesv1.ClusterTrustBundle{}
		Expect(kube.Get(ctx, client.ObjectKey{Namespace: issuer.Namespace, Name: issuer.Name + "-ca"}, published)).To(Succeed())
		Expect(kube.Get(ctx, client.ObjectKey{Name: "acmeca.dev:" + issuer.Namespace + "." + issuer.Name + ":ca"}, forAll)).To(Succeed())
		Expect(parseChain([]byte(published.Data["ca.crt"]))).To(ConsistOf(first, second))
		Expect(parseChain([]byte(forAll.Spec.TrustBundle))).To(ConsistOf(first, second))

		var address string
		var alternates []string
		address, after, alternates = a.obtain(ctx, "after.test")
		Expect(after).To(HaveLen(3))
		Expect(trusting(first, after)).To(Succeed())
		Expect(trusting(second, after)).To(Succeed())
		Expect(alternates).To(Equal([]string{address + "/1"}))

		r := a.post(alternates[0], nil)
		Expect(r.StatusCode).To(Equal(http.StatusOK), "%s", r.body)
		Expect(r.Header.Get("Content-Type")).To(Equal("application/pem-certificate-chain"))
		Expect(r.links("alternate")).To(Equal([]string{address}))
		short := parseChain(r.body)
		Expect(short).To(HaveLen(2))
		Expect(short[0].Equal(after[0])).To(BeTrue())
		Expect(trusting(second, short)).To(Succeed())
		Expect(trusting(first, short)).NotTo(Succeed())
		Expect(after[2].Issuer.CommonName).To(Equal("Rotated"), "clients choose by this name")
		Expect(short[1].Issuer.CommonName).To(Equal("Rotated 2"))
	})

	It("serves former certificates with their former chain", func() {
		r := a.post(beforeURL, nil)
		Expect(r.StatusCode).To(Equal(http.StatusOK), "%s", r.body)
		Expect(parseChain(r.body)).To(Equal(before))
	})

	It("serves no other chains, and only to the account", func(ctx SpecContext) {
		address, _, _ := a.obtain(ctx, "other.test")
		for _, number := range []string{"0", "2", "01", "+1", "-1", "x", "1/1", "99999999999999999999", "1/"} {
			expectProblem(a.post(address+"/"+number, nil), http.StatusNotFound, acme.Malformed)
		}
		expectProblem(a.post(address+"/1", map[string]any{}), http.StatusBadRequest, acme.Malformed)
		stranger := newAccountAt(issuer)
		Expect(stranger.register(map[string]any{"termsOfServiceAgreed": true}).StatusCode).To(Equal(http.StatusCreated))
		expectProblem(stranger.post(address+"/1", nil), http.StatusForbidden, acme.Unauthorized)
		Expect(a.do(http.MethodGet, address+"/1", "", nil).StatusCode).To(Equal(http.StatusMethodNotAllowed))
	})

	It("serves each CA certificate at the URL in its certificates, and continues the CRLs of the former CA", func() {
		Expect(after[0].IssuingCertificateURL).NotTo(Equal(before[0].IssuingCertificateURL))
		for _, chain := range [][]*x509.Certificate{before, after} {
			r := a.do(http.MethodGet, chain[0].IssuingCertificateURL[0], "", nil)
			Expect(r.StatusCode).To(Equal(http.StatusOK))
			Expect(r.Header.Get("Content-Type")).To(Equal("application/pkix-cert"))
			Expect(parseDER(r.body).Equal(chain[1])).To(BeTrue())
		}
		for _, chain := range [][]*x509.Certificate{before, after} {
			r := a.post(a.base+"revoke-cert", map[string]any{"certificate": base64.RawURLEncoding.EncodeToString(chain[0].Raw), "reason": 4})
			Expect(r.StatusCode).To(Equal(http.StatusOK), "%s", r.body)
			listed := func() []x509.RevocationListEntry {
				list, err := x509.ParseRevocationList(a.do(http.MethodGet, chain[0].CRLDistributionPoints[0], "", nil).body)
				Expect(err).NotTo(HaveOccurred())
				Expect(list.CheckSignatureFrom(chain[1])).To(Succeed())
				return list.RevokedCertificateEntries
			}
			Eventually(listed, "2s", "20ms").Should(ContainElement(HaveField("SerialNumber", chain[0].SerialNumber)))
		}
	})

	It("passes openssl's strict checks, with chain and CRL as served", func(ctx SpecContext) {
		if _, err := exec.LookPath("openssl"); err != nil {
			Skip("openssl is not installed")
		}
		_, fresh, _ := a.obtain(ctx, "fresh.test")
		for _, root := range []*x509.Certificate{first, second} {
			Expect(opensslVerify(a.wire, root, fresh)).To(HaveSuffix(": OK\n"))
		}
		Expect(opensslVerify(a.wire, first, kept)).To(HaveSuffix(": OK\n"))
		for _, revoked := range [][]*x509.Certificate{before, after} {
			Expect(opensslVerify(a.wire, first, revoked)).To(ContainSubstring("certificate revoked"))
		}
	})
})

var _ = Describe("The ACME server's TLS certificate", func() {
	It("follows the default issuer's intermediate without a restart", func(ctx SpecContext) {
		issuer := &v1alpha1.AcmeIssuer{}
		Expect(kube.Get(ctx, client.ObjectKey{Namespace: "acmeca-system", Name: "default"}, issuer)).To(Succeed())
		base, err := url.Parse(running.BaseURL())
		Expect(err).NotTo(HaveOccurred())
		roots := x509.NewCertPool()
		Expect(roots.AppendCertsFromPEM([]byte(issuer.Status.CABundle))).To(BeTrue())
		served := func() string {
			connection, err := tls.Dial("tcp", base.Host, &tls.Config{RootCAs: roots, ServerName: base.Hostname()})
			Expect(err).NotTo(HaveOccurred())
			defer connection.Close()
			return connection.ConnectionState().PeerCertificates[0].Issuer.String()
		}
		old := served()
		Expect(old).To(Equal(issuer.Status.IssuingCertificate.Subject))
		annotate(ctx, issuer, v1alpha1.RotateIntermediateAnnotation)
		Eventually(ctx, served, "30s", "100ms").ShouldNot(Equal(old))
	})
})
