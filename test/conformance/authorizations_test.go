package conformance

import (
	"encoding/json"
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
)

// challengeTypes returns the types of an authorization's challenges.
func challengeTypes(document map[string]any) (types []string) {
	for _, c := range document["challenges"].([]any) {
		types = append(types, c.(map[string]any)["type"].(string))
	}
	return types
}

var _ = Describe("Authorizations (RFC 8555 section 7.1.4 and 7.5)", func() {
	It("offer http-01, dns-01 and tls-alpn-01 for a name, with unguessable tokens (section 8.3, 8.4 and 11.3)", func() {
		a := registered("ES256")
		o := a.newOrder("offer.test")
		document := a.post(o.authorize[0], nil).json()
		Expect(document).To(HaveKeyWithValue("status", "pending"))
		Expect(document).To(HaveKeyWithValue("identifier", map[string]any{"type": "dns", "value": "offer.test"}))
		Expect(document).NotTo(HaveKey("wildcard"))
		Expect(challengeTypes(document)).To(ConsistOf("http-01", "dns-01", "tls-alpn-01"))
		tokens := map[string]bool{}
		for _, c := range document["challenges"].([]any) {
			token := c.(map[string]any)["token"].(string)
			Expect(token).To(MatchRegexp(`^[A-Za-z0-9_-]{22,}$`))
			Expect(tokens).NotTo(HaveKey(token))
			tokens[token] = true
			Expect(c).To(HaveKeyWithValue("status", "pending"))
		}
	})

	It("of a wildcard name its domain, are marked as such, and offer only DNS challenges (section 7.1.3 and 7.1.4)", func() {
		a := registered("ES256")
		o := a.newOrder("*.wild.test", "wild.test")
		Expect(o.document["identifiers"]).To(ConsistOf(
			map[string]any{"type": "dns", "value": "*.wild.test"}, map[string]any{"type": "dns", "value": "wild.test"}))
		Expect(o.authorize).To(HaveLen(2))
		for _, url := range o.authorize {
			document := a.post(url, nil).json()
			Expect(document).To(HaveKeyWithValue("identifier", HaveKeyWithValue("value", "wild.test")))
			if document["wildcard"] == true {
				Expect(challengeTypes(document)).To(ConsistOf("dns-01"))
			} else {
				Expect(document).NotTo(HaveKey("wildcard"))
			}
		}
	})

	It("show, once valid, their expiry and the validated challenge with its time (section 7.1.4 and 8)", func() {
		a := registered("ES256")
		o := a.ready("shown.test")
		document := a.post(o.authorize[0], nil).json()
		Expect(document).To(HaveKeyWithValue("status", "valid"))
		Expect(document).To(HaveKey("expires"))
		Expect(document["challenges"]).To(HaveLen(1))
		validated, err := time.Parse(time.RFC3339, document["challenges"].([]any)[0].(map[string]any)["validated"].(string))
		Expect(err).NotTo(HaveOccurred())
		Expect(validated).To(BeTemporally("~", time.Now(), time.Minute))
	})

	It("show, once invalid, the failed challenge, and end the order (section 7.1.4 and 7.1.6)", func() {
		a := registered("ES256")
		o := a.newOrder("fails.test")
		c := a.challenge(o.authorize[0], "http-01")
		responder.Put(c["token"].(string), "not the key authorization")
		a.post(c["url"].(string), map[string]any{})
		Eventually(func() any { return a.post(o.authorize[0], nil).json()["status"] }, "20s").Should(Equal("invalid"))
		document := a.post(o.authorize[0], nil).json()
		Expect(challengeTypes(document)).To(ConsistOf("http-01"))
		Expect(document["challenges"].([]any)[0]).To(HaveKeyWithValue("error", HaveKeyWithValue("type", acme.IncorrectResponse.URN())))
		Eventually(func() any { return a.post(o.url, nil).json()["status"] }, "10s").Should(Equal("invalid"))
	})

	It("answer the choice of a challenge with the outcome, only in an order with one name", func() {
		a := registered("ES256")
		choose := func(authorization string) map[string]any {
			c := a.challenge(authorization, "http-01")
			token := c["token"].(string)
			responder.Put(token, token+"."+jwstest.Key(GinkgoTB(), a.key).Thumbprint())
			return a.post(c["url"].(string), map[string]any{}).json()
		}
		valid := choose(a.newOrder("alone.test").authorize[0])
		Expect(valid).To(HaveKeyWithValue("status", "valid"))
		Expect(valid).To(HaveKey("validated"))
		for _, authorization := range a.newOrder("first.test", "second.test").authorize {
			Expect(choose(authorization)).To(HaveKeyWithValue("status", "processing"), "several names are validated in parallel")
		}
	})

	It("are retried while a challenge fails temporarily, and show it (section 8.2)", func() {
		a := registered("ES256")
		o := a.newOrder("refused.test")
		c := a.challenge(o.authorize[0], "tls-alpn-01") // there is no listener on this port
		a.post(c["url"].(string), map[string]any{})
		Eventually(func(g Gomega) {
			r := a.post(c["url"].(string), nil)
			g.Expect(r.json()).To(HaveKeyWithValue("status", "processing"))
			g.Expect(r.json()).To(HaveKeyWithValue("error", HaveKeyWithValue("type", acme.Connection.URN())))
			g.Expect(r.Header.Get("Retry-After")).To(Equal("5"), "HAProxy gives up after four of them")
		}, "10s", "50ms").Should(Succeed())
		Expect(a.post(o.authorize[0], nil).json()).To(HaveKeyWithValue("status", "pending"))
		Expect(a.post(o.url, nil).json()).To(HaveKeyWithValue("status", "pending"))
	})

	It("accept an object with any members as a response, and nothing else (section 7.5.1)", func() {
		a := registered("ES256")
		o := a.newOrder("response.test")
		c := a.challenge(o.authorize[0], "http-01")
		for _, payload := range []any{[]int{1}, "text", 1, json.RawMessage("null")} {
			expectProblem(a.post(c["url"].(string), payload), http.StatusBadRequest, acme.Malformed)
			Expect(a.challenge(o.authorize[0], "http-01")).To(HaveKeyWithValue("status", "pending"))
		}
		token := c["token"].(string)
		responder.Put(token, token+"."+jwstest.Key(GinkgoTB(), a.key).Thumbprint()+"\n \t")
		r := a.post(c["url"].(string), map[string]any{"keyAuthorization": "from another time", "surprise": 1})
		Expect(r.StatusCode).To(Equal(http.StatusOK))
		Expect(r.links("up")).To(ConsistOf(o.authorize[0]))
		Eventually(func() any { return a.post(o.authorize[0], nil).json()["status"] }, "20s").Should(Equal("valid"))
	})

	It("are unusable once deactivated, and only their account can deactivate them (section 7.5.2)", func() {
		a, other := registered("ES256"), registered("ES256")
		o := a.ready("given-up.test")
		deactivate := map[string]any{"status": "deactivated"}
		expectProblem(other.post(o.authorize[0], deactivate), http.StatusForbidden, acme.Unauthorized)
		expectProblem(a.post(o.authorize[0], map[string]any{"status": "valid"}), http.StatusBadRequest, acme.Malformed)
		r := a.post(o.authorize[0], deactivate)
		Expect(r.StatusCode).To(Equal(http.StatusOK))
		Expect(r.json()).To(HaveKeyWithValue("status", "deactivated"))
		expectProblem(a.post(o.finalize, map[string]any{"csr": csr(jwstest.NewKey(GinkgoTB(), "ES256"), "given-up.test")}), http.StatusForbidden, acme.OrderNotReady)
		Eventually(func() any { return a.post(o.url, nil).json()["status"] }, "10s").Should(Equal("invalid"))
	})

	It("are reused if the issuer allows it, and are listed in each order that they count for (section 7.1.3)", func(ctx SpecContext) {
		issuer := issuerLike(ctx, func(spec *v1alpha1.AcmeIssuerSpec) { spec.Lifetimes.ReuseAuthorizations = true })
		a := newAccountAt(issuer)
		a.register(map[string]any{})
		first := a.ready("reused.test")
		second := a.newOrder("reused.test", "more.test")
		Expect(second.authorize).To(ContainElement(first.authorize[0]))
		Expect(second.document).To(HaveKeyWithValue("status", "pending"))
		Expect(a.newOrder("reused.test").document).To(HaveKeyWithValue("status", "ready"))
	})
})

var _ = Describe("An order (RFC 8555 section 7.1.3 and 7.4)", func() {
	It("shows its request in normal form, with each name once", func() {
		a := registered("ES256")
		from, to := time.Now().Add(time.Hour).UTC().Truncate(time.Second), time.Now().Add(48*time.Hour).UTC().Truncate(time.Second)
		r := a.post(a.base+"new-order", map[string]any{
			"identifiers": names("Upper.TEST", "upper.test", "xn--bcher-kva.test"), "notBefore": from.Format(time.RFC3339), "notAfter": to.Format(time.RFC3339),
		})
		Expect(r.StatusCode).To(Equal(http.StatusCreated), "%s", r.body)
		Expect(r.Header.Get("Location")).To(HavePrefix(a.base + "order/"))
		document := r.json()
		Expect(document).To(HaveKeyWithValue("status", "pending"))
		Expect(document["identifiers"]).To(Equal([]any{
			map[string]any{"type": "dns", "value": "upper.test"}, map[string]any{"type": "dns", "value": "xn--bcher-kva.test"}}))
		Expect(document["authorizations"]).To(HaveLen(2))
		Expect(document).To(HaveKeyWithValue("notBefore", from.Format(time.RFC3339)))
		Expect(document).To(HaveKeyWithValue("notAfter", to.Format(time.RFC3339)))
		Expect(document).To(HaveKeyWithValue("profile", "default"))
		Expect(document).To(HaveKey("expires"))
		Expect(document).NotTo(HaveKey("certificate"))
	})

	It("gets a certificate with exactly the requested times, and is refused times that are not possible", func() {
		a := registered("ES256")
		at := func(d time.Duration) string {
			return time.Now().Add(d).UTC().Truncate(time.Second).Format(time.RFC3339)
		}
		for _, times := range []map[string]any{
			{"notAfter": at(-time.Hour)}, {"notAfter": at(91 * 24 * time.Hour)}, {"notBefore": at(-2 * time.Hour)},
			{"notBefore": at(48 * time.Hour), "notAfter": at(24 * time.Hour)}, {"notBefore": at(91 * 24 * time.Hour)},
		} {
			times["identifiers"] = names("times.test")
			expectProblem(a.post(a.base+"new-order", times), http.StatusBadRequest, acme.Malformed)
		}
		until := at(26 * time.Hour)
		r := a.post(a.base+"new-order", map[string]any{"identifiers": names("times.test"), "notAfter": until})
		Expect(r.StatusCode).To(Equal(http.StatusCreated), "%s", r.body)
		o := orderFrom(r)
		a.prove(o.authorize[0])
		certificate := parseChain(a.finalized(o, "times.test"))[0]
		Expect(certificate.NotAfter.Format(time.RFC3339)).To(Equal(until))
	})

	It("keeps its identifiers and authorizations against any change", func(ctx SpecContext) {
		a := registered("ES256")
		o := a.newOrder("kept.test")
		stored := &v1alpha1.AcmeOrder{}
		for _, edit := range []func(*v1alpha1.AcmeOrderSpec){
			func(s *v1alpha1.AcmeOrderSpec) { s.Identifiers[0].Value = "other.test" },
			func(s *v1alpha1.AcmeOrderSpec) { s.Authorizations[0] = "other" },
			func(s *v1alpha1.AcmeOrderSpec) { s.AccountRef.Name = "other" },
		} {
			fetch(ctx, o.url, stored)
			before := stored.DeepCopy()
			edit(&stored.Spec)
			Expect(kube.Patch(ctx, stored, client.MergeFrom(before))).To(MatchError(ContainSubstring("immutable")))
		}
		Expect(a.post(o.url, nil).json()).To(Equal(o.document))
	})

	It("has one of the profiles that the directory lists, and no other (draft-ietf-acme-profiles)", func(ctx SpecContext) {
		issuer := issuerLike(ctx, func(spec *v1alpha1.AcmeIssuerSpec) {
			spec.Profiles = []v1alpha1.Profile{{Name: "long", Description: "for what is hard to renew"}, {Name: "short"}}
			spec.DefaultProfile = "short"
		})
		a := newAccountAt(issuer)
		a.register(map[string]any{})
		Expect(a.get("directory").json()["meta"]).To(HaveKeyWithValue("profiles", And(HaveKeyWithValue("long", "for what is hard to renew"), HaveKey("short"))))
		Expect(a.newOrder("profile.test").document).To(HaveKeyWithValue("profile", "short"))
		r := a.post(a.base+"new-order", map[string]any{"identifiers": names("profile.test"), "profile": "long"})
		Expect(r.json()).To(HaveKeyWithValue("profile", "long"))
		for _, unknown := range []string{"default", "Long", "long ", "../short"} {
			expectProblem(a.post(a.base+"new-order", map[string]any{"identifiers": names("profile.test"), "profile": unknown}), http.StatusBadRequest, acme.InvalidProfile)
		}

		o := orderFrom(r)
		a.prove(o.authorize[0])
		changeIssuer(ctx, issuer, func(spec *v1alpha1.AcmeIssuerSpec) { spec.Profiles = spec.Profiles[1:] })
		request := map[string]any{"csr": csr(jwstest.NewKey(GinkgoTB(), "ES256"), "profile.test")}
		Eventually(func() any { return a.get("directory").json()["meta"] }, "10s").Should(HaveKeyWithValue("profiles", Not(HaveKey("long"))))
		expectProblem(a.post(o.finalize, request), http.StatusBadRequest, acme.InvalidProfile)
	})

	It("is not finalized with the key of any account (RFC 8555 section 11.1)", func() {
		a, other := registered("ES256"), registered("ES256")
		o := a.ready("keys.test")
		expectProblem(a.post(o.finalize, map[string]any{"csr": csr(other.key, "keys.test")}), http.StatusBadRequest, acme.BadCSR)
		expectProblem(a.post(o.finalize, map[string]any{"csr": csr(a.key, "keys.test")}), http.StatusBadRequest, acme.BadCSR)
		Expect(a.post(o.url, nil).json()).To(HaveKeyWithValue("status", "ready"))
	})
})

// finalized returns the chain of a ready order after finalization.
func (a *account) finalized(o *order, values ...string) []byte {
	GinkgoHelper()
	r := a.post(o.finalize, map[string]any{"csr": csr(jwstest.NewKey(GinkgoTB(), "ES256"), values...)})
	Expect(r.StatusCode).To(Equal(http.StatusOK), "%s", r.body)
	var document map[string]any
	Eventually(func() any { document = a.post(o.url, nil).json(); return document["status"] }, "10s").Should(Equal("valid"))
	r = a.post(document["certificate"].(string), nil)
	Expect(r.StatusCode).To(Equal(http.StatusOK))
	return r.body
}
