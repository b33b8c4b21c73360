package conformance

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
)

var _ = Describe("A signed request (RFC 8555 section 6.2)", Ordered, func() {
	var a *account
	BeforeAll(func() { a = registered("ES256") })

	// flattened returns the parts of a valid request, which a spec can combine wrongly.
	flattened := func(header jwstest.Header, payload any) map[string]any {
		GinkgoHelper()
		var parts map[string]any
		Expect(json.Unmarshal(jwstest.Sign(GinkgoTB(), a.key, header, payload), &parts)).To(Succeed())
		return parts
	}
	sendParts := func(parts any) *reply {
		GinkgoHelper()
		body, err := json.Marshal(parts)
		Expect(err).NotTo(HaveOccurred())
		return a.do(http.MethodPost, a.url, "application/jose+json", body)
	}

	It("is accepted in the flattened form, with any layout of its JSON", func() {
		body, err := json.MarshalIndent(flattened(a.header(a.url), nil), "  ", "\t")
		Expect(err).NotTo(HaveOccurred())
		Expect(a.do(http.MethodPost, a.url, "application/jose+json", body).StatusCode).To(Equal(http.StatusOK))
		Expect(a.do(http.MethodPost, a.url, "application/jose+json; charset=utf-8", jwstest.Sign(GinkgoTB(), a.key, a.header(a.url), nil)).StatusCode).To(Equal(http.StatusOK))
	})

	It("is refused in the compact form", func() {
		p := flattened(a.header(a.url), nil)
		compact := p["protected"].(string) + "." + p["payload"].(string) + "." + p["signature"].(string)
		expectProblem(a.do(http.MethodPost, a.url, "application/jose+json", []byte(compact)), http.StatusBadRequest, acme.Malformed)
	})

	It("is refused in the general form, with one signature or several", func() {
		p, q := flattened(a.header(a.url), nil), flattened(a.header(a.url), nil)
		signature := func(p map[string]any) map[string]any {
			return map[string]any{"protected": p["protected"], "signature": p["signature"]}
		}
		expectProblem(sendParts(map[string]any{"payload": "", "signatures": []any{signature(p)}}), http.StatusBadRequest, acme.Malformed)
		expectProblem(sendParts(map[string]any{"payload": "", "signatures": []any{signature(p), signature(q)}}), http.StatusBadRequest, acme.Malformed)
		p["signatures"] = []any{signature(q)}
		expectProblem(sendParts(p), http.StatusBadRequest, acme.Malformed)
	})

	It("is refused with an unprotected header", func() {
		p := flattened(a.header(a.url), nil)
		p["header"] = map[string]any{"kid": a.url}
		expectProblem(sendParts(p), http.StatusBadRequest, acme.Malformed)
	})

	It("is refused with an unencoded payload (RFC 7797)", func() {
		h := a.header(a.url)
		h["b64"], h["crit"] = false, []string{"b64"}
		expectProblem(a.send(a.url, h, nil), http.StatusBadRequest, acme.Malformed)
		h = a.header(a.url)
		h["b64"] = false
		expectProblem(a.send(a.url, h, nil), http.StatusBadRequest, acme.Malformed)
	})

	It("is refused with a detached payload", func() {
		p := flattened(a.header(a.url), nil)
		delete(p, "payload")
		expectProblem(sendParts(p), http.StatusBadRequest, acme.Malformed)
	})

	It("is refused with padding in base64url (section 6.1)", func() {
		for _, part := range []string{"protected", "payload", "signature"} {
			p := flattened(a.header(a.url), map[string]any{})
			p[part] = p[part].(string) + "="
			expectProblem(sendParts(p), http.StatusBadRequest, acme.Malformed)
		}
		o := a.ready("padding.test")
		padded := csr(jwstest.NewKey(GinkgoTB(), "ES256"), "padding.test")
		padded += strings.Repeat("=", 4-len(padded)%4)
		expectProblem(a.post(o.finalize, map[string]any{"csr": padded}), http.StatusBadRequest, acme.Malformed)
		standard := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xff}, 99))
		expectProblem(a.post(o.finalize, map[string]any{"csr": standard}), http.StatusBadRequest, acme.Malformed)
	})

	It("can be retried with the nonce of a badNonce answer (section 6.5)", func() {
		h := a.header(a.url)
		h["nonce"] = "AAAAAAAAAAAAAAAAAAAAAAAA"
		r := a.send(a.url, h, nil)
		expectProblem(r, http.StatusBadRequest, acme.BadNonce)
		h["nonce"] = r.Header.Get("Replay-Nonce")
		r = a.send(a.url, h, nil)
		Expect(r.StatusCode).To(Equal(http.StatusOK))
		h["nonce"] = r.Header.Get("Replay-Nonce")
		Expect(a.send(a.url, h, nil).StatusCode).To(Equal(http.StatusOK), "the nonce of a success is valid too")
	})

	It("does not use up the nonce of another account with an invalid signature", func() {
		nonce := a.nonce()
		stranger := newAccountKey("ES256")
		forged := jwstest.Header{"kid": a.url, "nonce": nonce, "url": a.url}
		expectProblem(stranger.send(a.url, forged, nil), http.StatusBadRequest, acme.Malformed)
		Expect(a.send(a.url, jwstest.Header{"kid": a.url, "nonce": nonce, "url": a.url}, nil).StatusCode).To(Equal(http.StatusOK))
	})
})

var _ = Describe("Documents", func() {
	It("have times in the format of RFC 3339, and unguessable URLs (RFC 8555 section 7.1.3, 7.1.4 and 10.5)", func() {
		a, b := registered("ES256"), registered("ES256")
		first, second := a.newOrder("same.test"), b.newOrder("same.test")
		for _, url := range []string{first.url, first.authorize[0]} {
			expires, err := time.Parse(time.RFC3339, a.post(url, nil).json()["expires"].(string))
			Expect(err).NotTo(HaveOccurred())
			Expect(expires).To(BeTemporally(">", time.Now().Add(24*time.Hour)))
		}
		for _, urls := range [][2]string{{a.url, b.url}, {first.url, second.url}, {first.authorize[0], second.authorize[0]}} {
			Expect(urls[0]).NotTo(Equal(urls[1]))
			for _, url := range urls {
				id := url[strings.LastIndex(url, "/")+1:]
				Expect(len(id)).To(BeNumerically(">=", 20))
				Expect(id).NotTo(ContainSubstring("same"))
			}
		}
	})
})
