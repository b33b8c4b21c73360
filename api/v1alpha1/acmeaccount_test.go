package v1alpha1_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

var _ = Describe("An AcmeAccount", func() {
	It("is pending until the controllers write its status", func(ctx SpecContext) {
		Expect(field(create(ctx, anAccount), "status", "state")).To(Equal("pending"))
	})

	It("can't be made with a status", func(ctx SpecContext) {
		account := create(ctx, anAccount, `{"status": {"state": "valid", "thumbprint": "mine"}}`)
		Expect(field(account, "status", "state")).To(Equal("pending"))
		Expect(field(account, "status", "thumbprint")).To(BeEmpty())
	})

	DescribeTable("is refused with", func(ctx SpecContext, patch, words string) {
		Expect(note(admin.Create(ctx, object(anAccount, patch)))).To(beRefused(words))
	},
		Entry("no issuer", `{"spec": {"issuerRef": null}}`, "spec.issuerRef"),
		Entry("an issuer without a name", `{"spec": {"issuerRef": {"name": ""}}}`, "spec.issuerRef.name"),
		Entry("a long issuer's name", `{"spec": {"issuerRef": {"name": `+text(254)+`}}}`, "Too long"),
		Entry("no key", `{"spec": {"jwk": null}}`, "spec.jwk"),
		Entry("a long origin", `{"spec": {"registeredFrom": `+text(65)+`}}`, "Too long"),
		Entry("a huge key", `{"spec": {"jwk": `+text(2049)+`}}`, "Too long"),
		Entry("neither registration nor claim", `{"spec": {"registration": null}}`, "exactly one of registration and keyClaimFor must be set"),
		Entry("registration and claim", `{"spec": {"keyClaimFor": "another"}}`, "exactly one of registration and keyClaimFor must be set"),
		Entry("a registration without a signature", `{"spec": {"registration": {"signature": null}}}`, "spec.registration.signature"),
		Entry("a registration without a header", `{"spec": {"registration": {"protected": ""}}}`, "spec.registration.protected"),
		Entry("a signature that isn't base64url", `{"spec": {"registration": {"signature": "a+b="}}}`, "spec.registration.signature"),
		Entry("a header that is neither base64url nor JSON", `{"spec": {"registration": {"protected": "a b"}}}`, "spec.registration.protected"),
		Entry("a payload that is neither base64url nor JSON", `{"spec": {"registration": {"payload": "{"}}}`, "spec.registration.payload"),
		Entry("a huge signature", `{"spec": {"registration": {"signature": `+text(v1alpha1.MaxSignature+1)+`}}}`, "Too long"),
		Entry("a huge header", `{"spec": {"registration": {"protected": `+text(v1alpha1.MaxProtected+1)+`}}}`, "Too long"),
		Entry("a huge payload", `{"spec": {"registration": {"payload": `+text(v1alpha1.MaxPayload+1)+`}}}`, "Too long"),
		Entry("too many contacts", `{"spec": {"contact": `+list(11, func(int) string { return `"mailto:a@a.test"` })+`}}`, "Too many"),
		Entry("a long contact", `{"spec": {"contact": [`+text(321)+`]}}`, "Too long"),
	)

	DescribeTable("can't have changed", func(ctx SpecContext, manifestPatch, patch, words string) {
		Expect(change(ctx, create(ctx, anAccount, manifestPatch), patch)).To(beRefused(words))
	},
		Entry("its issuer", `{}`, `{"spec": {"issuerRef": {"name": "another"}}}`, "issuerRef is immutable"),
		Entry("its first key", `{}`, `{"spec": {"jwk": "[]"}}`, "jwk is immutable"),
		Entry("its registration", `{}`, `{"spec": {"registration": {"signature": "b3RoZXI"}}}`, "registration is immutable"),
		Entry("its registration for a claim", `{}`, `{"spec": {"registration": null, "keyClaimFor": "another"}}`, "registration is immutable"),
		Entry("where it was registered from", `{"spec": {"registeredFrom": "192.0.2.1"}}`, `{"spec": {"registeredFrom": "192.0.2.2"}}`, "registeredFrom is immutable"),
		Entry("that nothing says where it was registered from", `{}`, `{"spec": {"registeredFrom": "192.0.2.2"}}`, "registeredFrom is immutable"),
		Entry("a claim", `{"spec": {"registration": null, "keyClaimFor": "one"}}`, `{"spec": {"keyClaimFor": "another"}}`, "keyClaimFor is immutable"),
		Entry("a claim for a registration", `{"spec": {"registration": null, "keyClaimFor": "one"}}`,
			`{"spec": {"keyClaimFor": null, "registration": {"protected": "e30", "signature": "c2ln"}}}`, "keyClaimFor is immutable"),
	)

	It("can have its contact, terms, key and end asked for, again and again", func(ctx SpecContext) {
		account := create(ctx, anAccount)
		for _, signature := range []string{"Zmlyc3Q", "c2Vjb25k"} {
			request := `{"protected": "e30", "signature": "` + signature + `"}`
			Expect(change(ctx, account, `{"spec": {"contact": ["mailto:`+signature+`@a.test"], "termsOfServiceAgreed": true,
				"update": `+request+`, "keyChange": `+request+`, "deactivation": {"request": `+request+`}}}`)).To(Succeed())
		}
		Expect(change(ctx, account, `{"spec": {"deactivation": {"request": null}}}`)).To(Succeed(), "as a person asks")
	})

	DescribeTable("stays", func(ctx SpecContext, state string) {
		account := create(ctx, anAccount)
		Expect(changeStatus(ctx, account, `{"status": {"state": "`+state+`"}}`)).To(Succeed())
		Expect(changeStatus(ctx, account, `{"status": {"state": "valid"}}`)).To(beRefused("the account's state is final"))
		Expect(changeStatus(ctx, account, `{"status": {"state": null}}`)).To(beRefused("the account's state is final"))
		Expect(changeStatus(ctx, account, `{"status": null}`)).To(beRefused("the account's state is final"))
		Expect(changeStatus(ctx, account, `{"status": {"observedGeneration": 7}}`)).To(Succeed())
	},
		Entry("invalid", "invalid"), Entry("deactivated", "deactivated"), Entry("revoked", "revoked"),
	)

	It("has only known states", func(ctx SpecContext) {
		Expect(changeStatus(ctx, create(ctx, anAccount), `{"status": {"state": "ready"}}`)).To(beRefused("Unsupported value"))
	})
})
