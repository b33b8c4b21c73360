package conformance

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
)

var _ = Describe("Downloading a certificate (RFC 8555 section 7.4.2)", func() {
	It("returns strict PEM with only certificates, the same each time and for every requested format (section 9.1)", func() {
		a := registered("ES256")
		o, der, _ := a.issued("download.test")
		url := a.post(o.url, nil).json()["certificate"].(string)
		first := a.post(url, nil)
		var strict bytes.Buffer
		for _, certificate := range parseChain(first.body) {
			Expect(pem.Encode(&strict, &pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})).To(Succeed())
		}
		Expect(first.body).To(Equal(strict.Bytes()))
		Expect(parseChain(first.body)[0].Raw).To(Equal(der))
		for _, accept := range []string{"application/pem-certificate-chain", "*/*", "application/pkix-cert", "application/pkcs7-mime", "text/html;q=0.1"} {
			body := jwstest.Sign(GinkgoTB(), a.key, a.header(url), nil)
			request, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
			Expect(err).NotTo(HaveOccurred())
			request.Header.Set("Content-Type", "application/jose+json")
			request.Header.Set("Accept", accept)
			response, err := a.http.Do(request)
			Expect(err).NotTo(HaveOccurred())
			Expect(response.StatusCode).To(Equal(http.StatusOK))
			Expect(response.Header.Get("Content-Type")).To(Equal("application/pem-certificate-chain"))
			Expect(response.Body.Close()).To(Succeed())
		}
	})

	It("is not possible before issuance, and only with POST-as-GET", func() {
		a := registered("ES256")
		o := a.newOrder("not-yet.test")
		url := a.base + "cert/" + o.url[len(a.base+"order/"):]
		expectProblem(a.post(url, nil), http.StatusNotFound, acme.Malformed)
		done, _, _ := a.issued("done.test")
		url = a.post(done.url, nil).json()["certificate"].(string)
		expectProblem(a.post(url, map[string]any{}), http.StatusBadRequest, acme.Malformed)
	})
})

var _ = Describe("TLS (RFC 8555 section 6.1)", func() {
	It("carries ACME, in version 1.2 or later", func() {
		w := newWire()
		plain := fmt.Sprintf("http://127.0.0.1:%d", running.Ports().HTTP)
		for _, path := range []string{"/acme/directory", "/acme/new-nonce", "/acmeca-system/default/acme/directory"} {
			expectProblem(w.do(http.MethodGet, plain+path, "", nil), http.StatusNotFound, acme.Malformed)
		}
		address := net.JoinHostPort("127.0.0.1", fmt.Sprint(running.Ports().HTTPS))
		for version, works := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
			connection, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: version})
			Expect(err == nil).To(Equal(works), "version %x: %v", version, err)
			if err == nil {
				Expect(connection.Close()).To(Succeed())
			}
		}
	})
})

var _ = Describe("Names", func() {
	It("with an xn-- label that is not valid in IDNA are refused (RFC 8555 section 7.1.4)", func() {
		a := registered("ES256")
		for _, name := range []string{"xn--a.test", "xn--.test", "ab--cd.test", "a..test", ".test", "-a.test", "test."} {
			expectProblem(a.post(a.base+"new-order", map[string]any{"identifiers": names(name)}), http.StatusBadRequest, acme.RejectedIdentifier)
		}
		Expect(a.newOrder("xn--bcher-kva.test").authorize).To(HaveLen(1))
	})
})
