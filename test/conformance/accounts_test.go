package conformance

import (
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// fetch reads the object behind a URL.
func fetch(ctx SpecContext, url string, into client.Object) {
	GinkgoHelper()
	name := url[strings.LastIndex(url, "/")+1:]
	Expect(kube.Get(ctx, client.ObjectKey{Namespace: "acmeca-system", Name: name}, into)).To(Succeed())
}

var _ = Describe("An account", func() {
	It("keeps the members of its registration, and shows no unknown ones (RFC 8555 section 7.3)", func() {
		a := newAccountKey("ES256")
		r := a.register(map[string]any{"contact": []string{"mailto:a@b.example"}, "orders": "https://evil.example/", "surprise": 1})
		Expect(r.StatusCode).To(Equal(http.StatusCreated))
		Expect(r.json()).To(HaveKeyWithValue("orders", a.url+"/orders"))
		Expect(r.json()).NotTo(HaveKey("surprise"))
		again := a.register(map[string]any{"contact": []string{"mailto:other@b.example"}})
		Expect(again.StatusCode).To(Equal(http.StatusOK))
		Expect(again.json()).To(Equal(r.json()), "the members of a request for an existing account are ignored (section 7.3.1)")
	})

	It("ignores updates of members that a client may not change (RFC 8555 section 7.3.2)", func() {
		a := registered("ES256")
		before := a.post(a.url, nil).json()
		for _, update := range []map[string]any{
			{}, {"orders": "https://evil.example/"}, {"status": "revoked"}, {"status": "valid"}, {"termsOfServiceAgreed": false}, {"key": map[string]any{}}, {"surprise": 1},
		} {
			r := a.post(a.url, update)
			Expect(r.StatusCode).To(Equal(http.StatusOK), "%v: %s", update, r.body)
			Expect(r.json()).To(Equal(before))
		}
	})

	It("can remove its contacts", func() {
		a := newAccountKey("ES256")
		a.register(map[string]any{"contact": []string{"mailto:a@b.example"}})
		Expect(a.post(a.url, map[string]any{"contact": nil}).json()).To(HaveKey("contact"))
		Expect(a.post(a.url, map[string]any{"contact": []string{}}).json()).NotTo(HaveKey("contact"))
	})

	It("ends its pending orders and authorizations when it is deactivated (RFC 8555 section 7.3.6)", func(ctx SpecContext) {
		a := registered("ES256")
		valid, _, _ := a.issued("kept.test")
		pending, ready := a.newOrder("pending.test"), a.ready("ready.test")
		ahead := a.newAuthz("dns", "ahead.test").Header.Get("Location")
		Expect(a.post(a.url, map[string]any{"status": "deactivated"}).StatusCode).To(Equal(http.StatusOK))
		for _, url := range []string{a.url, pending.url, ready.url, valid.url, ahead, a.url + "/orders", a.base + "directory"} {
			expectProblem(a.post(url, nil), http.StatusUnauthorized, acme.Unauthorized)
		}
		Eventually(func(g Gomega) {
			order, authz := &v1alpha1.AcmeOrder{}, &v1alpha1.AcmeAuthorization{}
			for _, o := range []string{pending.url, ready.url} {
				fetch(ctx, o, order)
				g.Expect(order.Status.State).To(Equal(acme.StateInvalid))
				g.Expect(order.Status.Problem.Type).To(Equal(acme.Unauthorized))
			}
			fetch(ctx, ahead, authz)
			g.Expect(authz.Status.State).To(Equal(acme.StateInvalid))
			g.Expect(authz.Status.Problem.Detail).To(Equal("the account is deactivated"))
			fetch(ctx, ready.authorize[0], authz)
			g.Expect(authz.Status.State).To(Equal(acme.StateDeactivated))
		}, "10s").Should(Succeed())
		order := &v1alpha1.AcmeOrder{}
		fetch(ctx, valid.url, order)
		Expect(order.Status.State).To(Equal(acme.StateValid))
		Expect(order.Status.RevokedAt).To(BeNil(), "deactivation revokes no certificate")
	})

	It("is revoked, not deactivated, by an administrator (RFC 8555 section 7.1.2)", func(ctx SpecContext) {
		a := registered("ES256")
		o := a.newOrder("theirs.test")
		account := &v1alpha1.AcmeAccount{}
		fetch(ctx, a.url, account)
		before := account.DeepCopy()
		account.Spec.Deactivation = &v1alpha1.Deactivation{}
		Expect(kube.Patch(ctx, account, client.MergeFrom(before))).To(Succeed())
		Eventually(func() acme.State { fetch(ctx, a.url, account); return account.Status.State }, "10s").Should(Equal(acme.StateRevoked))
		Eventually(func() int { return a.post(o.url, nil).StatusCode }, "10s").Should(Equal(http.StatusUnauthorized))
		order := &v1alpha1.AcmeOrder{}
		Eventually(func() acme.State { fetch(ctx, o.url, order); return order.Status.State }, "10s").Should(Equal(acme.StateInvalid))
	})
})

var _ = Describe("Terms of service (RFC 8555 section 7.3 and 7.3.3)", func() {
	const terms, newTerms = "https://ca.example/terms/1", "https://ca.example/terms/2"

	expectTerms := func(r *reply, url string) {
		GinkgoHelper()
		expectProblem(r, http.StatusForbidden, acme.UserActionRequired)
		Expect(r.links("terms-of-service")).To(ConsistOf(url))
		Expect(r.json()).To(HaveKeyWithValue("instance", url))
	}

	It("are named in the directory, and an account that does not agree is not created", func(ctx SpecContext) {
		issuer := issuerLike(ctx, func(spec *v1alpha1.AcmeIssuerSpec) { spec.Account.TermsOfService = terms })
		a := newAccountAt(issuer)
		Expect(a.get("directory").json()["meta"]).To(HaveKeyWithValue("termsOfService", terms))
		expectTerms(a.register(map[string]any{}), terms)
		expectTerms(a.register(map[string]any{"termsOfServiceAgreed": false}), terms)
		expectProblem(a.register(map[string]any{"onlyReturnExisting": true}), http.StatusBadRequest, acme.AccountDoesNotExist)
		r := a.register(map[string]any{"termsOfServiceAgreed": true})
		Expect(r.StatusCode).To(Equal(http.StatusCreated))
		Expect(r.json()).To(HaveKeyWithValue("termsOfServiceAgreed", true))
	})

	It("that have changed must be agreed to before the next order, with an account update", func(ctx SpecContext) {
		issuer := issuerLike(ctx, func(spec *v1alpha1.AcmeIssuerSpec) { spec.Account.TermsOfService = terms })
		a := newAccountAt(issuer)
		a.register(map[string]any{"termsOfServiceAgreed": true})
		begun := a.ready("begun.test")
		changeIssuer(ctx, issuer, func(spec *v1alpha1.AcmeIssuerSpec) { spec.Account.TermsOfService = newTerms })
		Eventually(func() any { return a.get("directory").json()["meta"] }, "10s").Should(HaveKeyWithValue("termsOfService", newTerms))

		expectTerms(a.post(a.base+"new-order", map[string]any{"identifiers": names("next.test")}), newTerms)
		expectTerms(a.newAuthz("dns", "next.test"), newTerms)
		Expect(a.post(a.url, nil).json()).NotTo(HaveKey("termsOfServiceAgreed"))
		Expect(a.post(begun.url, nil).json()).To(HaveKeyWithValue("status", "ready"), "an accepted order stays valid")

		r := a.post(a.url, map[string]any{"termsOfServiceAgreed": true})
		Expect(r.StatusCode).To(Equal(http.StatusOK), "%s", r.body)
		Expect(r.json()).To(HaveKeyWithValue("termsOfServiceAgreed", true))
		a.newOrder("next.test")
	})
})
