package conformance

import (
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

var _ = Describe("A wildcard name", func() {
	It("is certified after a proof of its domain by DNS (RFC 8555 section 7.1.3 and 8.4)", func(ctx SpecContext) {
		z := serveZone()
		issuer := issuerLike(ctx, func(spec *v1alpha1.AcmeIssuerSpec) { spec.Validation.Resolvers = []string{z.address} })
		a := newAccountAt(issuer)
		a.register(map[string]any{})
		o := a.newOrder("*.wild.test", "wild.test")
		for _, url := range o.authorize {
			a.proveByDNS(z, url)
		}
		Expect(parseChain(a.finalized(o, "wild.test", "*.wild.test"))[0].DNSNames).To(ConsistOf("wild.test", "*.wild.test"))
	})
})

var _ = Describe("Authorizations for all names below a domain (RFC 9444)", Ordered, func() {
	var z *zone
	var issuer *v1alpha1.AcmeIssuer
	client := func() *account {
		GinkgoHelper()
		a := newAccountAt(issuer)
		a.register(map[string]any{})
		return a
	}
	below := func(domain string, values ...string) map[string]any {
		ids := names(values...)
		for _, id := range ids {
			id["ancestorDomain"] = domain
		}
		return map[string]any{"identifiers": ids}
	}
	BeforeAll(func(ctx SpecContext) {
		z = serveZone()
		issuer = issuerLike(ctx, func(spec *v1alpha1.AcmeIssuerSpec) {
			spec.Validation.Resolvers, spec.Challenges.Subdomains = []string{z.address}, true
		})
	})

	It("are announced only in the directory of issuers that allow them (section 4.4)", func() {
		Expect(newWire().at(issuer).get("directory").json()["meta"]).To(HaveKeyWithValue("subdomainAuthAllowed", true))
		Expect(newWire().get("directory").json()["meta"]).NotTo(HaveKey("subdomainAuthAllowed"))
	})

	It("can be created before orders, are proved by DNS, and count for orders for names below (section 4.2)", func() {
		a := client()
		ask := map[string]any{"identifier": map[string]any{"type": "dns", "value": "ahead.test", "subdomainAuthAllowed": true}}
		r := a.post(a.base+"new-authz", ask)
		Expect(r.StatusCode).To(Equal(http.StatusCreated), "%s", r.body)
		Expect(r.json()).To(HaveKeyWithValue("subdomainAuthAllowed", true))
		Expect(challengeTypes(r.json())).To(ConsistOf("dns-01"))
		url := r.Header.Get("Location")
		a.proveByDNS(z, url)
		o := a.newOrder("a.ahead.test", "b.c.ahead.test", "ahead.test", "*.ahead.test")
		Expect(o.authorize).To(ConsistOf(url))
		Expect(o.document).To(HaveKeyWithValue("status", "ready"))
		Expect(parseChain(a.finalized(o, "a.ahead.test", "b.c.ahead.test", "ahead.test", "*.ahead.test"))[0].DNSNames).To(HaveLen(4))
		Expect(a.newOrder("notahead.test").authorize).NotTo(ContainElement(url))
		Expect(client().newOrder("a.ahead.test").authorize).NotTo(ContainElement(url))
	})

	It("are created for an order that names a parent domain, one for all its names below (section 4.3)", func() {
		a := client()
		r := a.post(a.base+"new-order", below("order.test", "x.order.test", "y.z.order.test"))
		Expect(r.StatusCode).To(Equal(http.StatusCreated), "%s", r.body)
		o := orderFrom(r)
		Expect(o.authorize).To(HaveLen(1))
		Expect(a.post(o.authorize[0], nil).json()).To(And(
			HaveKeyWithValue("subdomainAuthAllowed", true), HaveKeyWithValue("identifier", HaveKeyWithValue("value", "order.test"))))
		a.proveByDNS(z, o.authorize[0])
		a.finalized(o, "x.order.test", "y.z.order.test")
		expectProblem(a.post(a.base+"new-order", below("other.test", "x.order.test")), http.StatusBadRequest, acme.Malformed)
	})

	It("are not created by issuers that do not allow them: the name itself must be proved (section 4.2 and 4.3)", func() {
		a := registered("ES256")
		r := a.post(a.base+"new-order", below("order.test", "x.order.test"))
		Expect(r.StatusCode).To(Equal(http.StatusCreated), "%s", r.body)
		authz := a.post(orderFrom(r).authorize[0], nil).json()
		Expect(authz).To(HaveKeyWithValue("identifier", HaveKeyWithValue("value", "x.order.test")))
		Expect(authz).NotTo(HaveKey("subdomainAuthAllowed"))
		r = a.post(a.base+"new-authz", map[string]any{"identifier": map[string]any{"type": "dns", "value": "ahead.test", "subdomainAuthAllowed": true}})
		Expect(r.StatusCode).To(Equal(http.StatusCreated))
		Expect(r.json()).NotTo(HaveKey("subdomainAuthAllowed"))
	})
})
