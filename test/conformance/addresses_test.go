package conformance

import (
	"crypto/x509"
	"encoding/base64"
	"net"
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
)

var _ = Describe("IP addresses (RFC 8738)", Ordered, func() {
	var a *account
	addresses := func(values ...string) map[string]any {
		var ids []map[string]string
		for _, v := range values {
			ids = append(ids, map[string]string{"type": "ip", "value": v})
		}
		return map[string]any{"identifiers": ids}
	}
	BeforeAll(func(ctx SpecContext) {
		issuer := issuerLike(ctx, func(spec *v1alpha1.AcmeIssuerSpec) {
			spec.Policy.IP.Allow = []string{"127.0.0.0/8", "2001:db8::/32"}
		})
		a = newAccountAt(issuer)
		a.register(map[string]any{})
	})

	It("are identifiers of their own type, in the form of RFC 5952 (section 3), and no DNS proves them (section 7)", func() {
		r := a.post(a.base+"new-order", addresses("127.0.0.1", "2001:DB8:0:0::1"))
		Expect(r.StatusCode).To(Equal(http.StatusCreated), "%s", r.body)
		Expect(r.json()["identifiers"]).To(Equal([]any{
			map[string]any{"type": "ip", "value": "127.0.0.1"}, map[string]any{"type": "ip", "value": "2001:db8::1"}}))
		for i, url := range orderFrom(r).authorize {
			document := a.post(url, nil).json()
			Expect(document["identifier"]).To(Equal(r.json()["identifiers"].([]any)[i]))
			Expect(challengeTypes(document)).To(ConsistOf("http-01", "tls-alpn-01"))
		}
	})

	It("are refused in other forms, and as names", func() {
		for _, value := range []string{"127.1", "0177.0.0.1", "127.0.0.1/32", "::ffff:127.0.0.1", "fe80::1%eth0", "[2001:db8::1]", "2130706433", ""} {
			expectProblem(a.post(a.base+"new-order", addresses(value)), http.StatusBadRequest, acme.RejectedIdentifier)
		}
		for _, value := range []string{"127.0.0.1", "2001:db8::1", "1.0.0.127.in-addr.arpa."} {
			expectProblem(a.post(a.base+"new-order", map[string]any{"identifiers": names(value)}), http.StatusBadRequest, acme.RejectedIdentifier)
		}
	})

	It("are certified as addresses, and not as names", func() {
		r := a.post(a.base+"new-order", addresses("127.0.0.1"))
		Expect(r.StatusCode).To(Equal(http.StatusCreated), "%s", r.body)
		o := orderFrom(r)
		a.prove(o.authorize[0])
		key := jwstest.NewKey(GinkgoTB(), "ES256")
		asName := csr(key, "127.0.0.1")
		expectProblem(a.post(o.finalize, map[string]any{"csr": asName}), http.StatusBadRequest, acme.BadCSR)
		der, err := x509.CreateCertificateRequest(nil, &x509.CertificateRequest{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, key)
		Expect(err).NotTo(HaveOccurred())
		r = a.post(o.finalize, map[string]any{"csr": base64.RawURLEncoding.EncodeToString(der)})
		Expect(r.StatusCode).To(Equal(http.StatusOK), "%s", r.body)
		Eventually(func() any { return a.post(o.url, nil).json()["status"] }, "10s").Should(Equal("valid"))
		certificate := parseChain(a.post(a.post(o.url, nil).json()["certificate"].(string), nil).body)[0]
		Expect(certificate.DNSNames).To(BeEmpty())
		Expect(certificate.IPAddresses).To(HaveLen(1))
		Expect(certificate.IPAddresses[0].String()).To(Equal("127.0.0.1"))
	})
})
