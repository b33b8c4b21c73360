package conformance

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/api/acme"
)

// expectProblem checks that an answer is a problem document of a type, with a fresh nonce (RFC 8555 section 6.5 and
// 6.7).
func expectProblem(r *reply, status int, kind acme.ProblemType) {
	GinkgoHelper()
	Expect(r.Header.Get("Content-Type")).To(Equal("application/problem+json"), "%d %s", r.StatusCode, r.body)
	document := r.json()
	Expect(document).To(HaveKeyWithValue("type", kind.URN()), "%s", r.body)
	Expect(document).To(HaveKeyWithValue("detail", Not(BeEmpty())))
	Expect(r.StatusCode).To(Equal(status), "%s", r.body)
	Expect(document).To(HaveKeyWithValue("status", BeNumerically("==", status)))
	if r.Request.Method == http.MethodPost {
		Expect(r.Header.Get("Replay-Nonce")).NotTo(BeEmpty())
	}
}

func parseChain(text []byte) []*x509.Certificate {
	GinkgoHelper()
	var chain []*x509.Certificate
	for len(text) > 0 {
		var block *pem.Block
		block, text = pem.Decode(text)
		Expect(block).NotTo(BeNil(), "something other than PEM in the chain")
		Expect(block.Type).To(Equal("CERTIFICATE"))
		certificate, err := x509.ParseCertificate(block.Bytes)
		Expect(err).NotTo(HaveOccurred())
		chain = append(chain, certificate)
	}
	Expect(chain).NotTo(BeEmpty())
	return chain
}

func parseDER(der []byte) *x509.Certificate {
	GinkgoHelper()
	certificate, err := x509.ParseCertificate(der)
	Expect(err).NotTo(HaveOccurred())
	return certificate
}

// jsonRaw returns a JWS as a member of a payload.
func jsonRaw(text []byte) json.RawMessage { return text }

// jsonOf returns a payload as a client sends it.
func jsonOf(payload any) []byte {
	GinkgoHelper()
	text, err := json.Marshal(payload)
	Expect(err).NotTo(HaveOccurred())
	return text
}
