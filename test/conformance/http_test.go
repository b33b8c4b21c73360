package conformance

import (
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/api/acme"
)

var _ = Describe("HTTP (RFC 8555 section 6)", func() {
	It("allows browsers from every origin, and exposes the headers that they need (section 6.1)", func() {
		w := newWire()
		for _, url := range []string{w.base + "directory", w.base + "new-nonce", w.base + "no-such-thing", running.BaseURL() + "/no/issuer/acme/directory"} {
			r := w.do(http.MethodGet, url, "", nil)
			Expect(r.Header.Values("Access-Control-Allow-Origin")).To(BeEmpty(), "nobody else needs them")
			Expect(r.Header.Values("Access-Control-Expose-Headers")).To(BeEmpty(), "getssl finds \"location\" there")
			r = w.browse(http.MethodGet, url)
			Expect(r.Header.Get("Access-Control-Allow-Origin")).To(Equal("*"))
			for _, name := range []string{"Link", "Location", "Replay-Nonce", "Retry-After"} {
				Expect(r.Header.Get("Access-Control-Expose-Headers")).To(ContainSubstring(name))
			}
			Expect(r.Header.Values("Access-Control-Allow-Credentials")).To(BeEmpty())
		}
	})

	It("answers preflight requests of browsers", func() {
		w := newWire()
		r := w.browse(http.MethodOptions, w.base+"new-order")
		Expect(r.StatusCode).To(Equal(http.StatusNoContent))
		Expect(r.Header.Get("Access-Control-Allow-Origin")).To(Equal("*"))
		Expect(r.Header.Get("Access-Control-Allow-Methods")).To(ContainSubstring("POST"))
		Expect(r.Header.Get("Access-Control-Allow-Headers")).To(ContainSubstring("Content-Type"))
		Expect(w.do(http.MethodOptions, w.base+"no-such-thing", "", nil).StatusCode).To(Equal(http.StatusNotFound))
	})

	It("answers GET on resources for POST-as-GET with 405 and malformed (section 6.3)", func() {
		a := registered("ES256")
		o := a.newOrder("get.test")
		for _, url := range []string{a.url, a.ordersURL(), o.url, o.finalize, o.authorize[0], a.base + "new-account", a.base + "new-order", a.base + "revoke-cert"} {
			r := a.do(http.MethodGet, url, "", nil)
			expectProblem(r, http.StatusMethodNotAllowed, acme.Malformed)
			Expect(r.Header.Get("Allow")).To(Equal("POST, OPTIONS"))
		}
	})

	It("reads the directory and a nonce with POST-as-GET too (section 6.3)", func() {
		a := registered("ES256")
		r := a.post(a.base+"directory", nil)
		Expect(r.StatusCode).To(Equal(http.StatusOK), "%s", r.body)
		Expect(r.json()).To(Equal(a.get("directory").json()))
		r = a.post(a.base+"new-nonce", nil)
		Expect(r.StatusCode).To(Equal(http.StatusNoContent))
		Expect(r.Header.Get("Replay-Nonce")).NotTo(BeEmpty())
		expectProblem(a.post(a.base+"directory", map[string]any{}), http.StatusBadRequest, acme.Malformed)
		stranger := newAccountKey("ES256")
		expectProblem(stranger.postWithKey(a.base+"directory", nil), http.StatusBadRequest, acme.Malformed)
	})

	It("answers HEAD as GET, without the body", func() {
		w := newWire()
		r := w.do(http.MethodHead, w.base+"directory", "", nil)
		Expect(r.StatusCode).To(Equal(http.StatusOK))
		Expect(r.Header.Get("Content-Type")).To(Equal("application/json"))
		Expect(r.body).To(BeEmpty())
	})

	It("treats a query as a part of the URL, and no URL of the server has one (section 6.4)", func() {
		a := registered("ES256")
		o := a.newOrder("query.test")
		expectProblem(a.send(o.url+"?a=b", a.header(o.url), nil), http.StatusForbidden, acme.Unauthorized)
		expectProblem(a.post(o.url+"?a=b", nil), http.StatusForbidden, acme.Unauthorized)
		Expect(a.get("directory?ca=mine").StatusCode).To(Equal(http.StatusOK))
	})

	It("forbids caching of answers with a nonce, and allows caching of CA certificates", func() {
		a := registered("ES256")
		o := a.newOrder("cache.test")
		for _, r := range []*reply{a.get("new-nonce"), a.post(a.url, nil), a.post(o.url, nil), a.post(o.authorize[0], nil), a.post(a.base+"directory", nil), a.post(a.base+"no-such-thing", nil)} {
			Expect(r.Header.Get("Cache-Control")).To(Equal("no-store"))
			Expect(r.Header.Get("Replay-Nonce")).NotTo(BeEmpty())
		}
		for _, r := range []*reply{a.get("directory"), a.get("no-such-thing")} {
			Expect(r.Header.Get("Cache-Control")).To(Equal("no-store"))
			Expect(r.Header.Values("Replay-Nonce")).To(BeEmpty(), "ruby's acme-client before 2.0.16 fails if the directory has one")
		}
		r := a.do(http.MethodGet, running.BaseURL()+"/ca.crt", "", nil)
		Expect(r.StatusCode).To(Equal(http.StatusOK))
		Expect(r.Header.Get("Cache-Control")).To(HavePrefix("public, max-age="))
		Expect(r.Header.Values("Replay-Nonce")).To(BeEmpty())
	})

	It("gives every answer a nonce of its own (section 6.5.1)", func() {
		w := newWire()
		seen := map[string]bool{}
		for range 100 {
			nonce := w.nonce()
			Expect(seen).NotTo(HaveKey(nonce))
			Expect(nonce).To(MatchRegexp(`^[A-Za-z0-9_-]{22,}$`))
			seen[nonce] = true
		}
	})
})
