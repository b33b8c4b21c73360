package conformance

import (
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
)

// These specs repeat the requests of Dogtag's and FreeIPA's ACME clients, at the paths that they know, and check the
// answers and the resources.
var _ = Describe("Clients of Dogtag", func() {
	var a *account
	BeforeEach(func() { a = newAccountKey("RS256") })
	stored := func(ctx SpecContext) *v1alpha1.AcmeAccount {
		GinkgoHelper()
		object := &v1alpha1.AcmeAccount{}
		fetch(ctx, a.url, object)
		return object
	}
	// find requests the account of the key, at Dogtag's path.
	find := func() *reply {
		GinkgoHelper()
		return a.postWithKey(a.base+"new-acct", map[string]any{"onlyReturnExisting": true})
	}

	// created creates the account, at Dogtag's path.
	created := func() {
		GinkgoHelper()
		r := a.postWithKey(a.base+"new-acct", map[string]any{"contact": []string{"mailto:admin@example.com"}, "termsOfServiceAgreed": true})
		Expect(r.StatusCode).To(Equal(http.StatusCreated), "%s", r.body)
		a.url = r.Header.Get("Location")
	}

	It("find the directory below /acme", func() {
		Expect(a.base).To(HaveSuffix("/acme/"))
		Expect(strings.Count(strings.TrimPrefix(a.base, "https://"), "/")).To(Equal(2), "at the root of the server")
		Expect(a.get("directory").json()).To(HaveKeyWithValue("newOrder", a.base+"new-order"))
	})

	It("create an account", func(ctx SpecContext) {
		expectProblem(find(), http.StatusBadRequest, acme.AccountDoesNotExist)
		created()
		Expect(stored(ctx).Status.State).To(Equal(acme.StateValid))
		Expect(stored(ctx).Status.Contact).To(ConsistOf("mailto:admin@example.com"))
	})

	It("enrol with a new account", func(ctx SpecContext) {
		created()
		o, _, _ := a.issued("new.dogtag.test")
		object := &v1alpha1.AcmeOrder{}
		fetch(ctx, o.url, object)
		Expect(object.Status.State).To(Equal(acme.StateValid))
	})

	It("enrol with an existing account, several names at once", func() {
		created()
		r := find()
		Expect(r.StatusCode).To(Equal(http.StatusOK))
		Expect(r.Header.Get("Location")).To(Equal(a.url))
		again := &account{wire: newWire(), key: a.key, url: r.Header.Get("Location")}
		again.issued("one.dogtag.test", "two.dogtag.test")
	})

	It("enrol with an earlier authorization", func() {
		created()
		r := a.newAuthz("dns", "before.dogtag.test")
		Expect(r.StatusCode).To(Equal(http.StatusCreated), "%s", r.body)
		a.prove(r.Header.Get("Location"))
		o := a.newOrder("before.dogtag.test")
		Expect(o.document).To(HaveKeyWithValue("status", "ready"))
		a.finalized(o, "before.dogtag.test")
	})

	It("revoke with the account's key, and with the certificate's", func() {
		created()
		_, enrolled, _ := a.issued("revoked.dogtag.test")
		certificate := func(der []byte) map[string]any {
			return map[string]any{"certificate": jwstest.Encode(GinkgoTB(), der)}
		}
		Expect(a.post(a.base+"revoke-cert", certificate(enrolled)).StatusCode).To(Equal(http.StatusOK))
		_, der, key := a.issued("key.dogtag.test")
		holder := &account{wire: newWire(), key: key}
		Expect(holder.postWithKey(a.base+"revoke-cert", certificate(der)).StatusCode).To(Equal(http.StatusOK))
	})

	It("update an account", func(ctx SpecContext) {
		created()
		r := a.post(a.url, map[string]any{"contact": []string{"mailto:other@example.com"}})
		Expect(r.StatusCode).To(Equal(http.StatusOK), "%s", r.body)
		Expect(stored(ctx).Status.Contact).To(ConsistOf("mailto:other@example.com"))
	})

	It("unregister an account, which ends its pending orders and keeps the object", func(ctx SpecContext) {
		created()
		pending, ahead := a.newOrder("pending.dogtag.test"), a.newAuthz("dns", "ahead.dogtag.test").Header.Get("Location")
		r := a.post(a.url, map[string]any{"status": "deactivated"})
		Expect(r.StatusCode).To(Equal(http.StatusOK), "%s", r.body)
		expectProblem(find(), http.StatusUnauthorized, acme.Unauthorized)
		Expect(stored(ctx).Status.State).To(Equal(acme.StateDeactivated))
		order, authorization := &v1alpha1.AcmeOrder{}, &v1alpha1.AcmeAuthorization{}
		Eventually(func() acme.State { fetch(ctx, pending.url, order); return order.Status.State }, "10s").Should(Equal(acme.StateInvalid))
		Eventually(func() acme.State { fetch(ctx, ahead, authorization); return authorization.Status.State }, "10s").Should(Equal(acme.StateInvalid))
	})
})
