package conformance

import (
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
)

// newAuthz requests an authorization before an order.
func (a *account) newAuthz(kind, value string) *reply {
	GinkgoHelper()
	return a.post(a.base+"new-authz", map[string]any{"identifier": map[string]string{"type": kind, "value": value}})
}

var _ = Describe("Pre-authorization (RFC 8555 section 7.4.1)", func() {
	It("returns a pending authorization with its URL", func() {
		a := registered("ES256")
		Expect(a.get("directory").json()).To(HaveKeyWithValue("newAuthz", a.base+"new-authz"))
		r := a.newAuthz("dns", "Early.test")
		Expect(r.StatusCode).To(Equal(http.StatusCreated), "%s", r.body)
		Expect(r.Header.Get("Location")).To(HavePrefix(a.base + "authz/"))
		Expect(r.json()).To(HaveKeyWithValue("status", "pending"))
		Expect(r.json()).To(HaveKeyWithValue("identifier", HaveKeyWithValue("value", "early.test")))
		Expect(r.json()).NotTo(HaveKey("wildcard"))
		Expect(a.post(r.Header.Get("Location"), nil).json()).To(Equal(r.json()))
	})

	It("makes the next orders for the identifier ready from the start", func() {
		a := registered("ES256")
		url := a.newAuthz("dns", "prepared.test").Header.Get("Location")
		a.prove(url)
		for range 2 {
			o := a.newOrder("prepared.test")
			Expect(o.authorize).To(ConsistOf(url))
			Expect(o.document).To(HaveKeyWithValue("status", "ready"))
			key := jwstest.NewKey(GinkgoTB(), "ES256")
			Expect(a.post(o.finalize, map[string]any{"csr": csr(key, "prepared.test")}).StatusCode).To(Equal(http.StatusOK))
			Eventually(func() any { return a.post(o.url, nil).json()["status"] }, "10s").Should(Equal("valid"))
		}
	})

	It("does not count for other accounts, names or wildcards, nor before it is valid or after deactivation", func() {
		a, other := registered("ES256"), registered("ES256")
		pending := a.newAuthz("dns", "own.test").Header.Get("Location")
		Expect(a.newOrder("own.test").authorize).NotTo(ContainElement(pending))
		a.prove(pending)
		Expect(other.newOrder("own.test").authorize).NotTo(ContainElement(pending))
		Expect(a.newOrder("below.own.test").authorize).NotTo(ContainElement(pending))
		Expect(a.newOrder("*.own.test").authorize).NotTo(ContainElement(pending))
		for range 2 { // a retry after a lost answer
			r := a.post(pending, map[string]any{"status": "deactivated"})
			Expect(r.json()).To(HaveKeyWithValue("status", "deactivated"))
		}
		o := a.newOrder("own.test")
		Expect(o.authorize).NotTo(ContainElement(pending))
		Expect(o.document).To(HaveKeyWithValue("status", "pending"))
	})

	It("does not reuse an order's authorization, if the issuer does not allow it", func() {
		a := registered("ES256")
		proved := a.ready("once.test")
		Expect(a.newOrder("once.test").authorize).NotTo(ContainElement(proved.authorize[0]))
	})

	It("is refused with 403 for identifiers that the issuer does not certify, and for wildcards", func() {
		a := registered("ES256")
		expectProblem(a.newAuthz("dns", "*.wild.test"), http.StatusForbidden, acme.RejectedIdentifier)
		expectProblem(a.newAuthz("dns", "a_b.test"), http.StatusForbidden, acme.RejectedIdentifier)
		expectProblem(a.newAuthz("ip", "192.0.2.1"), http.StatusForbidden, acme.RejectedIdentifier)
		expectProblem(a.newAuthz("email", "a@b.test"), http.StatusForbidden, acme.UnsupportedIdentifier)
		expectProblem(a.post(a.base+"new-authz", map[string]any{}), http.StatusBadRequest, acme.Malformed)
	})
})
