package conformance

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
)

// state returns all objects that a request could have created, and the resourceVersions of the account's objects.
// Other objects may change in the meantime: the ready state of an order is stored with a delay.
func state(ctx SpecContext, of *account) map[string]string {
	GinkgoHelper()
	id := of.url[strings.LastIndex(of.url, "/")+1:]
	var accounts v1alpha1.AcmeAccountList
	var orders v1alpha1.AcmeOrderList
	var authorizations v1alpha1.AcmeAuthorizationList
	for _, list := range []client.ObjectList{&accounts, &orders, &authorizations} {
		Expect(kube.List(ctx, list)).To(Succeed())
	}
	all := map[string]string{}
	note := func(object client.Object, account string) {
		version := ""
		if account == id {
			version = object.GetResourceVersion()
		}
		all[object.GetName()] = version
	}
	for i := range accounts.Items {
		note(&accounts.Items[i], accounts.Items[i].Name)
	}
	for i := range orders.Items {
		note(&orders.Items[i], orders.Items[i].Spec.AccountRef.Name)
	}
	for i := range authorizations.Items {
		note(&authorizations.Items[i], authorizations.Items[i].Spec.AccountRef.Name)
	}
	return all
}

var _ = Describe("A bad request", Ordered, func() {
	var a, other *account
	var o *order
	BeforeAll(func() {
		a, other = registered("ES256"), registered("ES256")
		o = a.newOrder("bad.test")
	})

	refuses := func(what string, status int, kind acme.ProblemType, send func() *reply) {
		It(fmt.Sprintf("%s is answered with %d %s and changes nothing", what, status, kind), func(ctx SpecContext) {
			before := state(ctx, a)
			expectProblem(send(), status, kind)
			Expect(maps.Equal(state(ctx, a), before)).To(BeTrue(), "an object was created or changed")
		})
	}
	body := func(text []byte) *reply { return a.do(http.MethodPost, o.url, "application/jose+json", text) }
	withHeader := func(edit func(jwstest.Header)) func() *reply {
		return func() *reply {
			h := a.header(o.url)
			edit(h)
			return a.send(o.url, h, nil)
		}
	}

	refuses("that isn't JSON", 400, acme.Malformed, func() *reply { return body([]byte("{")) })
	refuses("that is empty", 400, acme.Malformed, func() *reply { return body(nil) })
	refuses("that isn't an object", 400, acme.Malformed, func() *reply { return body([]byte(`["a"]`)) })
	refuses("with another content type", 415, acme.Malformed, func() *reply {
		return a.do(http.MethodPost, o.url, "application/json", jwstest.Sign(GinkgoTB(), a.key, a.header(o.url), nil))
	})
	refuses("without a content type", 415, acme.Malformed, func() *reply {
		return a.do(http.MethodPost, o.url, "", jwstest.Sign(GinkgoTB(), a.key, a.header(o.url), nil))
	})
	refuses("over 64 KiB", 413, acme.Malformed, func() *reply { return body(bytes.Repeat([]byte(" "), 64<<10+1)) })
	refuses("signed for another URL", 403, acme.Unauthorized, withHeader(func(h jwstest.Header) { h["url"] = a.url }))
	refuses("signed for another host", 403, acme.Unauthorized, withHeader(func(h jwstest.Header) {
		h["url"] = strings.Replace(o.url, "127.0.0.1", "localhost", 1)
	}))
	refuses("without a URL", 400, acme.Malformed, withHeader(func(h jwstest.Header) { delete(h, "url") }))
	refuses("without a nonce", 400, acme.BadNonce, withHeader(func(h jwstest.Header) { delete(h, "nonce") }))
	refuses("with an unknown nonce", 400, acme.BadNonce, withHeader(func(h jwstest.Header) { h["nonce"] = "AAAAAAAAAAAAAAAAAAAAAAAA" }))
	refuses("with a nonce that isn't base64url", 400, acme.Malformed, withHeader(func(h jwstest.Header) { h["nonce"] = "not a nonce" }))
	refuses("with a nonce that was used", 400, acme.BadNonce, func() *reply {
		h := a.header(o.url)
		Expect(a.send(o.url, h, nil).StatusCode).To(Equal(http.StatusOK))
		return a.send(o.url, h, nil)
	})
	refuses("with alg none", 400, acme.BadSignatureAlgorithm, withHeader(func(h jwstest.Header) { h["alg"] = "none" }))
	refuses("with a MAC", 400, acme.BadSignatureAlgorithm, func() *reply {
		return body(jwstest.MAC(GinkgoTB(), bytes.Repeat([]byte("k"), 32), a.header(o.url), nil))
	})
	refuses("with an algorithm that isn't its key's", 400, acme.BadSignatureAlgorithm, withHeader(func(h jwstest.Header) { h["alg"] = "RS256" }))
	refuses("with jwk and kid", 400, acme.Malformed, withHeader(func(h jwstest.Header) { h["jwk"] = jwstest.JWK(GinkgoTB(), a.key) }))
	refuses("with neither jwk nor kid", 400, acme.Malformed, withHeader(func(h jwstest.Header) { delete(h, "kid") }))
	refuses("with jwk instead of kid", 400, acme.Malformed, func() *reply { return a.postWithKey(o.url, nil) })
	refuses("with kid instead of jwk", 400, acme.Malformed, func() *reply { return a.post(a.base+"new-account", map[string]any{}) })
	refuses("with an unknown kid", 400, acme.AccountDoesNotExist, withHeader(func(h jwstest.Header) { h["kid"] = a.base + "acct/00000000000000000000" }))
	refuses("with a kid that names no account", 400, acme.AccountDoesNotExist, withHeader(func(h jwstest.Header) { h["kid"] = o.url }))
	refuses("with a kid elsewhere", 400, acme.AccountDoesNotExist, withHeader(func(h jwstest.Header) { h["kid"] = "https://elsewhere.example/acme/acct/1" }))
	refuses("with crit", 400, acme.Malformed, withHeader(func(h jwstest.Header) { h["crit"] = []string{"exp"} }))
	refuses("signed by another key", 400, acme.Malformed, func() *reply {
		stranger := newAccountKey("ES256")
		stranger.url = a.url
		return stranger.post(o.url, nil)
	})
	refuses("for an order that doesn't exist", 404, acme.Malformed, func() *reply { return a.post(a.base+"order/0000000000000000000a", nil) })
	refuses("for a resource that doesn't exist", 404, acme.Malformed, func() *reply { return a.post(a.base+"no-such-thing", nil) })
	refuses("for another account", 403, acme.Unauthorized, func() *reply { return a.post(other.url, nil) })
	refuses("with a payload that isn't an object", 400, acme.Malformed, func() *reply { return a.post(a.base+"new-order", []string{"x"}) })

	for what, c := range map[string]struct {
		payload map[string]any
		kind    acme.ProblemType
	}{
		"without identifiers":            {map[string]any{}, acme.Malformed},
		"for an unknown identifier type": {map[string]any{"identifiers": []map[string]string{{"type": "email", "value": "a@b.test"}}}, acme.UnsupportedIdentifier},
		"for a name in Unicode":          {map[string]any{"identifiers": names("bücher.test")}, acme.RejectedIdentifier},
		"for a name with an underscore":  {map[string]any{"identifiers": names("a_b.test")}, acme.RejectedIdentifier},
		"for an inner wildcard":          {map[string]any{"identifiers": names("a.*.test")}, acme.RejectedIdentifier},
		"for an address as a name":       {map[string]any{"identifiers": names("192.0.2.1")}, acme.RejectedIdentifier},
		"for an address by default":      {map[string]any{"identifiers": []map[string]string{{"type": "ip", "value": "192.0.2.1"}}}, acme.RejectedIdentifier},
		"on an unknown profile":          {map[string]any{"identifiers": names("a.test"), "profile": "nope"}, acme.InvalidProfile},
		"for the past":                   {map[string]any{"identifiers": names("a.test"), "notAfter": "2001-01-01T00:00:00Z"}, acme.Malformed},
		"with a broken time":             {map[string]any{"identifiers": names("a.test"), "notAfter": "tomorrow"}, acme.Malformed},
	} {
		refuses("for an order "+what, 400, c.kind, func() *reply { return a.post(a.base+"new-order", c.payload) })
	}

	It("for an order with several refused names is answered with a subproblem for each (RFC 8555 section 6.7.1)", func() {
		document := a.post(a.base+"new-order", map[string]any{"identifiers": names("a_b.test", "ok.test", "-c.test")}).json()
		Expect(document).NotTo(HaveKey("identifier"))
		Expect(document["subproblems"]).To(ConsistOf(
			HaveKeyWithValue("identifier", HaveKeyWithValue("value", "a_b.test")),
			HaveKeyWithValue("identifier", HaveKeyWithValue("value", "-c.test")),
		))
	})

	It("with another method is answered with 405 and Allow", func() {
		for url, allow := range map[string]string{a.base + "new-order": "POST", a.base + "new-nonce": "GET, HEAD"} {
			r := a.do(http.MethodDelete, url, "", nil)
			expectProblem(r, http.StatusMethodNotAllowed, acme.Malformed)
			Expect(r.Header.Get("Allow")).To(ContainSubstring(allow))
		}
	})

	It("with unknown members is no bad request: they are ignored (RFC 8555 section 7.1)", func() {
		r := a.post(a.base+"new-order", map[string]any{"identifiers": names("extra.test"), "surprise": map[string]any{"deep": []int{1}}})
		Expect(r.StatusCode).To(Equal(http.StatusCreated))
	})

	It("with an unsupported algorithm is answered with the supported ones (RFC 8555 section 6.2)", func() {
		h := a.header(o.url)
		h["alg"] = "none"
		Expect(a.send(o.url, h, nil).json()["algorithms"]).To(ContainElements("RS256", "ES256", "ES384", "EdDSA"))
	})
})

var _ = Describe("A bad CSR", Ordered, func() {
	var a *account
	var o *order
	BeforeAll(func() {
		a = registered("ES256")
		o = a.ready("csr.test")
	})

	refuses := func(what string, kind acme.ProblemType, make func() any) {
		It(what+" is refused, and leaves the order ready", func() {
			expectProblem(a.post(o.finalize, make()), http.StatusBadRequest, kind)
			Expect(a.post(o.url, nil).json()).To(HaveKeyWithValue("status", "ready"))
		})
	}
	with := func(text string) any { return map[string]any{"csr": text} }
	refuses("that is missing", acme.Malformed, func() any { return map[string]any{} })
	refuses("that isn't base64url", acme.Malformed, func() any { return with("+++") })
	refuses("that isn't DER", acme.BadCSR, func() any { return with("AAAA") })
	refuses("with another name", acme.BadCSR, func() any { return with(csr(jwstest.NewKey(GinkgoTB(), "ES256"), "other.test")) })
	refuses("with an additional name", acme.BadCSR, func() any { return with(csr(jwstest.NewKey(GinkgoTB(), "ES256"), "csr.test", "other.test")) })
	refuses("without names", acme.BadCSR, func() any { return with(csr(jwstest.NewKey(GinkgoTB(), "ES256"))) })
	refuses("with the account's key", acme.BadCSR, func() any { return with(csr(a.key, "csr.test")) })

	It("is refused for an order that isn't ready", func() {
		pending := a.newOrder("pending.test")
		r := a.post(pending.finalize, with(csr(jwstest.NewKey(GinkgoTB(), "ES256"), "pending.test")))
		expectProblem(r, http.StatusForbidden, acme.OrderNotReady)
	})

	It("after another one is refused, and the same one again is answered with the order", func() {
		good := with(csr(jwstest.NewKey(GinkgoTB(), "ES256"), "csr.test"))
		for range 2 {
			r := a.post(o.finalize, good)
			Expect(r.StatusCode).To(Equal(http.StatusOK), "%s", r.body)
			Expect(r.Header.Get("Location")).To(Equal(o.url), "clients such as mod_md continue there")
		}
		other := with(csr(jwstest.NewKey(GinkgoTB(), "ES256"), "csr.test"))
		expectProblem(a.post(o.finalize, other), http.StatusForbidden, acme.OrderNotReady)
	})
})
