package conformance

import (
	"net/http"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
)

var _ = Describe("A key change (RFC 8555 section 7.3.5)", func() {
	It("is refused if one of the two requests is invalid, and changes nothing", func() {
		a, other := registered("ES256"), registered("ES256")
		url := a.base + "key-change"
		next := jwstest.NewKey(GinkgoTB(), "ES256")
		jwk := func(h jwstest.Header) jwstest.Header { h["jwk"] = jwstest.JWK(GinkgoTB(), next); return h }
		change := map[string]any{"account": a.url, "oldKey": jwstest.JWK(GinkgoTB(), a.key)}
		for what, inner := range map[string]any{
			"no JWS inside":                change,
			"the request of the old key":   jsonRaw(jwstest.Sign(GinkgoTB(), a.key, jwk(jwstest.Header{"url": url}), change)),
			"another URL inside":           jsonRaw(jwstest.Sign(GinkgoTB(), next, jwk(jwstest.Header{"url": a.url}), change)),
			"a nonce inside":               jsonRaw(jwstest.Sign(GinkgoTB(), next, jwk(jwstest.Header{"url": url, "nonce": a.nonce()}), change)),
			"a kid inside":                 jsonRaw(jwstest.Sign(GinkgoTB(), next, jwstest.Header{"url": url, "kid": a.url}, change)),
			"another account":              jsonRaw(jwstest.KeyChange(GinkgoTB(), next, a.key, other.url, url)),
			"no account":                   jsonRaw(jwstest.Sign(GinkgoTB(), next, jwk(jwstest.Header{"url": url}), map[string]any{"oldKey": jwstest.JWK(GinkgoTB(), a.key)})),
			"another old key":              jsonRaw(jwstest.KeyChange(GinkgoTB(), next, other.key, a.url, url)),
			"no old key":                   jsonRaw(jwstest.Sign(GinkgoTB(), next, jwk(jwstest.Header{"url": url}), map[string]any{"account": a.url})),
			"the key that the account has": jsonRaw(jwstest.KeyChange(GinkgoTB(), a.key, a.key, a.url, url)),
		} {
			By(what)
			expectProblem(a.post(url, inner), http.StatusBadRequest, acme.Malformed)
		}
		expectProblem(other.post(url, jsonRaw(jwstest.KeyChange(GinkgoTB(), next, a.key, a.url, url))), http.StatusBadRequest, acme.Malformed)
		Expect(a.post(a.url, nil).StatusCode).To(Equal(http.StatusOK))
		stranger := &account{wire: a.wire, key: next, url: a.url}
		expectProblem(stranger.post(a.url, nil), http.StatusBadRequest, acme.Malformed)
	})

	It("keeps pending orders and authorizations", func() {
		a := registered("ES256")
		ready, pending := a.ready("kept.test"), a.newOrder("pending.test")
		url, next := a.base+"key-change", jwstest.NewKey(GinkgoTB(), "EdDSA")
		Expect(a.post(url, jsonRaw(jwstest.KeyChange(GinkgoTB(), next, a.key, a.url, url))).StatusCode).To(Equal(http.StatusOK))
		a.key = next
		Expect(a.post(ready.url, nil).json()).To(HaveKeyWithValue("status", "ready"))
		a.finalized(ready, "kept.test")
		a.prove(pending.authorize[0]) // with the thumbprint of the new key
		a.finalized(pending, "pending.test")
	})
})

var _ = Describe("Concurrent changes of several accounts to one key", func() {
	It("succeed for one account, and the others keep their keys", func() {
		next := jwstest.NewKey(GinkgoTB(), "ES256")
		accounts := make([]*account, 6)
		for i := range accounts {
			accounts[i] = registered("ES256")
		}
		replies := make([]*reply, len(accounts))
		var wait sync.WaitGroup
		for i, a := range accounts {
			wait.Go(func() {
				defer GinkgoRecover()
				url := a.base + "key-change"
				replies[i] = a.post(url, jsonRaw(jwstest.KeyChange(GinkgoTB(), next, a.key, a.url, url)))
			})
		}
		wait.Wait()
		var winner *account
		for i, a := range accounts {
			if replies[i].StatusCode == http.StatusOK {
				Expect(winner).To(BeNil(), "two accounts have the key")
				winner = a
				expectProblem(a.post(a.url, nil), http.StatusBadRequest, acme.Malformed) // the old key is invalid
				continue
			}
			Expect(replies[i].StatusCode).To(Equal(http.StatusConflict), "%s", replies[i].body)
			Expect(a.post(a.url, nil).StatusCode).To(Equal(http.StatusOK))
		}
		Expect(winner).NotTo(BeNil())
		found := (&account{wire: winner.wire, key: next}).register(map[string]any{"onlyReturnExisting": true})
		Expect(found.Header.Get("Location")).To(Equal(winner.url))
	})
})

var _ = Describe("Concurrent registrations of one key", func() {
	It("create one account", func() {
		first := newAccountKey("ES256")
		urls := make([]string, 8)
		var wait sync.WaitGroup
		for i := range urls {
			wait.Go(func() {
				defer GinkgoRecover()
				a := &account{wire: newWire(), key: first.key}
				a.register(map[string]any{})
				urls[i] = a.url
			})
		}
		wait.Wait()
		Expect(urls).To(HaveEach(urls[0]))
		Expect(urls[0]).NotTo(BeEmpty())
	})
})
