package v1alpha1_test

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

var _ = Describe("An AcmeAuthorization", func() {
	const aResponse = `{"spec": {"response": {"type": "http-01", "request": {"protected": "e30", "payload": "e30", "signature": "c2ln"}}}}`

	It("is pending until the controllers write its status, whatever status it is created with", func(ctx SpecContext) {
		authorization := create(ctx, anAuthorization, `{"status": {"state": "valid", "expires": "2099-01-01T00:00:00Z"}}`)
		Expect(field(authorization, "status", "state")).To(Equal("pending"))
		Expect(field(authorization, "status", "expires")).To(BeEmpty())
	})

	DescribeTable("is refused with", func(ctx SpecContext, patch, words string) {
		Expect(note(admin.Create(ctx, object(anAuthorization, patch)))).To(beRefused(words))
	},
		Entry("no identifier", `{"spec": {"identifier": null}}`, "spec.identifier"),
		Entry("an unknown type of identifier", `{"spec": {"identifier": {"type": "email"}}}`, "Unsupported value"),
		Entry("a wildcard for its identifier", `{"spec": {"identifier": {"value": "*.a.test"}}}`, "must not begin with '*.'; set wildcard to true instead"),
		Entry("a name that leaves no room for a wildcard", `{"spec": {"identifier": {"value": `+text(254)+`}}}`, "must be at most 253 characters"),
		Entry("no challenges", `{"spec": {"challenges": []}}`, "should have at least 1 items"),
		Entry("two challenges of one type", `{"spec": {"challenges": [{"type": "http-01", "token": "0123456789012345678901"}, {"type": "http-01", "token": "another-token-0123456789"}]}}`, "Duplicate value"),
		Entry("an unknown challenge", `{"spec": {"challenges": [{"type": "dns-02", "token": "0123456789012345678901"}]}}`, "Unsupported value"),
		Entry("challenges without a token", `{"spec": {"challenges": [{"type": "dns-persist-01"}, {"type": "http-01"}]}}`, "one of the challenges must have a token"),
		Entry("a token where the challenge has none", `{"spec": {"challenges": [{"type": "dns-persist-01", "token": "0123456789012345678901"}]}}`, "a dns-persist-01 challenge has no token"),
		Entry("a token that can be guessed", `{"spec": {"challenges": [{"type": "http-01", "token": "012345678901234567890"}]}}`, "spec.challenges[0].token"),
		Entry("a long token", `{"spec": {"challenges": [{"type": "http-01", "token": `+text(65)+`}]}}`, "Too long"),
		Entry("a token that leads elsewhere", `{"spec": {"challenges": [{"type": "http-01", "token": "../../0123456789012345678901"}]}}`, "spec.challenges[0].token"),
		Entry("a response to a challenge that isn't there", `{"spec": {"response": {"type": "dns-01", "request": {"protected": "e30", "signature": "c2ln"}}}}`,
			"response.type must be the type of one of the challenges"),
		Entry("a response without a request", `{"spec": {"response": {"type": "http-01"}}}`, "spec.response.request"),
	)

	DescribeTable("can't have changed", func(ctx SpecContext, manifestPatch, patch, words string) {
		Expect(change(ctx, create(ctx, anAuthorization, manifestPatch), patch)).To(beRefused(words))
	},
		Entry("its issuer", `{}`, `{"spec": {"issuerRef": {"name": "another"}}}`, "issuerRef is immutable"),
		Entry("its account", `{}`, `{"spec": {"accountRef": {"name": "another"}}}`, "accountRef is immutable"),
		Entry("its identifier", `{}`, `{"spec": {"identifier": {"value": "b.test"}}}`, "identifier is immutable"),
		Entry("that it isn't for a wildcard", `{}`, `{"spec": {"wildcard": true}}`, "wildcard is immutable"),
		Entry("that it is for a wildcard", `{"spec": {"wildcard": true}}`, `{"spec": {"wildcard": null}}`, "wildcard is immutable"),
		Entry("that it was asked for by itself", `{"spec": {"preAuthorization": true}}`, `{"spec": {"preAuthorization": null}}`, "preAuthorization is immutable"),
		Entry("that it is for its own name alone", `{}`, `{"spec": {"subdomains": true}}`, "subdomains is immutable"),
		Entry("that it counts for names below", `{"spec": {"subdomains": true}}`, `{"spec": {"subdomains": null}}`, "subdomains is immutable"),
		Entry("its tokens", `{}`, `{"spec": {"challenges": [{"type": "http-01", "token": "another-token-0123456789"}]}}`, "challenges are immutable"),
		Entry("its challenges", `{}`, `{"spec": {"challenges": [{"type": "http-01", "token": "0123456789012345678901"}, {"type": "dns-01", "token": "0123456789012345678901"}]}}`, "challenges are immutable"),
		Entry("its response", aResponse, `{"spec": {"response": {"request": {"signature": "b3RoZXI"}}}}`, "response is set once"),
		Entry("its response, to none", aResponse, `{"spec": {"response": null}}`, "response is set once"),
		Entry("its response, to a deactivation", aResponse, `{"spec": {"response": null, "deactivation": {}}}`, "response is set once"),
		Entry("that it was asked for by itself, to a response", `{"spec": {"preAuthorization": true}}`,
			`{"spec": {"preAuthorization": null, `+aResponse[len(`{"spec": {`):], "preAuthorization is immutable"),
	)

	It("takes a response once, and the same again", func(ctx SpecContext) {
		authorization := create(ctx, anAuthorization)
		Expect(change(ctx, authorization, aResponse)).To(Succeed())
		Expect(change(ctx, authorization, aResponse)).To(Succeed())
	})

	DescribeTable("stays", func(ctx SpecContext, state string) {
		authorization := create(ctx, anAuthorization)
		Expect(changeStatus(ctx, authorization, `{"status": {"state": "`+state+`"}}`)).To(Succeed())
		Expect(changeStatus(ctx, authorization, `{"status": {"state": "valid"}}`)).To(beRefused("the authorization's state is final"))
		Expect(changeStatus(ctx, authorization, `{"status": {"state": null}}`)).To(beRefused("the authorization's state is final"))
		Expect(changeStatus(ctx, authorization, `{"status": null}`)).To(beRefused("the authorization's state is final"))
	},
		Entry("invalid", "invalid"), Entry("deactivated", "deactivated"), Entry("expired", "expired"), Entry("revoked", "revoked"),
	)

	DescribeTable("that is valid can become", func(ctx SpecContext, state string) {
		authorization := create(ctx, anAuthorization)
		Expect(changeStatus(ctx, authorization, `{"status": {"state": "valid"}}`)).To(Succeed())
		Expect(changeStatus(ctx, authorization, `{"status": {"state": "pending"}}`)).To(beRefused("a valid authorization cannot become pending"))
		Expect(changeStatus(ctx, authorization, `{"status": {"state": "`+state+`"}}`)).To(Succeed())
	},
		Entry("deactivated", "deactivated"), Entry("expired", "expired"), Entry("revoked", "revoked"),
	)

	It("keeps a bounded record", func(ctx SpecContext) {
		authorization := create(ctx, anAuthorization)
		record := func(member string) string {
			return `{"status": {"challenge": {"type": "http-01", "state": "invalid", "record": {` + member + `}}}}`
		}
		Expect(changeStatus(ctx, authorization, record(`"urls": `+list(17, func(i int) string { return fmt.Sprintf(`"u%d"`, i) })))).To(beRefused("Too many"))
		Expect(changeStatus(ctx, authorization, record(`"addresses": `+list(17, func(i int) string { return fmt.Sprintf(`"10.0.0.%d"`, i) })))).To(beRefused("Too many"))
		Expect(changeStatus(ctx, authorization, record(`"records": [`+text(513)+`]`))).To(beRefused("Too long"))
		Expect(changeStatus(ctx, authorization, `{"status": {"challenge": {"type": "http-01", "state": "ready"}}}`)).To(beRefused("Unsupported value"))
	})

	It("authorizes the wildcard, or the name itself", func() {
		authorization := &v1alpha1.AcmeAuthorization{}
		authorization.Spec.Identifier = v1alpha1.Identifier{Type: acme.DNS, Value: "a.test"}
		Expect(authorization.Authorized()).To(Equal(acme.Identifier{Type: acme.DNS, Value: "a.test"}))
		authorization.Spec.Wildcard = true
		Expect(authorization.Authorized()).To(Equal(acme.Identifier{Type: acme.DNS, Value: "*.a.test"}))
	})

	It("expires when its status says, and before when its issuer will have it", func() {
		authorization := &v1alpha1.AcmeAuthorization{}
		authorization.CreationTimestamp = metav1.NewTime(time.Unix(1000, 0))
		lifetimes := v1alpha1.Lifetimes{PendingAuthorization: metav1.Duration{Duration: time.Minute}, Authorization: metav1.Duration{Duration: time.Hour}}
		Expect(authorization.ExpiresAt(lifetimes).Unix()).To(BeEquivalentTo(1060))
		authorization.Status.Expires = &metav1.Time{Time: time.Unix(2000, 0)}
		Expect(authorization.ExpiresAt(lifetimes).Unix()).To(BeEquivalentTo(2000))
	})
})
