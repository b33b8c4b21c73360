package v1alpha1_test

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

const (
	aPod = `{"namespace": "a", "name": "a", "uid": "u", "serviceAccountName": "a", "nodeName": "n", "requestUID": "u", "rule": "r"}`
	// withCSR is a finalization as earlier versions stored it.
	withCSR  = `{"spec": {"csr": "a CSR", "finalization": {"request": {"protected": "e30", "signature": "c2ln"}, "time": "2030-01-01T00:00:00Z"}}}`
	podOrder = `{"spec": {"accountRef": null, "authorizations": null, "pod": ` + aPod + `}}`
)

var _ = Describe("An AcmeOrder", func() {
	It("is pending until the controllers write its status, whatever status it is created with", func(ctx SpecContext) {
		order := create(ctx, anOrder, `{"status": {"state": "valid", "certificate": "mine"}}`)
		Expect(field(order, "status", "state")).To(Equal("pending"))
		Expect(field(order, "status", "certificate")).To(BeEmpty())
	})

	DescribeTable("is refused with", func(ctx SpecContext, patch, words string) {
		Expect(note(admin.Create(ctx, object(anOrder, patch)))).To(beRefused(words))
	},
		Entry("no account", `{"spec": {"accountRef": null}}`, "exactly one of accountRef and pod must be set"),
		Entry("an account and a Pod", `{"spec": {"pod": `+aPod+`, "authorizations": null}}`, "exactly one of accountRef and pod must be set"),
		Entry("neither identifiers nor a Pod", `{"spec": {"identifiers": null}}`, "identifiers and authorizations are required"),
		Entry("neither authorizations nor a Pod", `{"spec": {"authorizations": null}}`, "identifiers and authorizations are required"),
		Entry("authorizations for a Pod", `{"spec": {"accountRef": null, "pod": `+aPod+`}}`, "an order for a Pod has no authorizations"),
		Entry("a finalization for a Pod", aFinalization[:len(aFinalization)-2]+`, "accountRef": null, "authorizations": null, "pod": `+aPod+`}}`, "an order for a Pod has no authorizations"),
		Entry("a Pod without a request", `{"spec": {"accountRef": null, "authorizations": null, "pod": {"namespace": "a", "name": "a", "uid": "u", "serviceAccountName": "a", "nodeName": "n", "rule": "r"}}}`, "spec.pod.requestUID"),
		Entry("no identifiers", `{"spec": {"identifiers": []}}`, "should have at least 1 items"),
		Entry("an unknown type of identifier", `{"spec": {"identifiers": [{"type": "email", "value": "a@a.test"}]}}`, "Unsupported value"),
		Entry("an empty identifier", `{"spec": {"identifiers": [{"type": "dns", "value": ""}]}}`, "spec.identifiers[0].value"),
		Entry("a long identifier", `{"spec": {"identifiers": [{"type": "dns", "value": `+text(256)+`}]}}`, "Too long"),
		Entry("too many identifiers", `{"spec": {"identifiers": `+list(101, func(i int) string { return fmt.Sprintf(`{"type": "dns", "value": "n%d.test"}`, i) })+`}}`, "Too many"),
		Entry("no authorizations", `{"spec": {"authorizations": []}}`, "should have at least 1 items"),
		Entry("a long authorization's name", `{"spec": {"authorizations": [`+text(64)+`]}}`, "Too long"),
		Entry("a long profile's name", `{"spec": {"profile": `+text(64)+`}}`, "Too long"),
		Entry("a grant for one of two identifiers", `{"spec": {"grants": ["team"]}}`, "grants must have an entry for each identifier"),
		Entry("a long grant's name", `{"spec": {"grants": ["", `+text(64)+`]}}`, "Too long"),
		Entry("a CSR that nobody signed", `{"spec": {"csr": "a CSR"}}`, "csr needs a finalization"),
		Entry("a finalization without a time", `{"spec": {"finalization": {"request": {"protected": "e30", "signature": "c2ln"}}}}`, "spec.finalization.time"),
		Entry("a huge CSR", `{"spec": {"csr": `+text(49153)+`, "finalization": {"request": {"protected": "e30", "signature": "c2ln"}, "time": "2030-01-01T00:00:00Z"}}}`, "Too long"),
		Entry("a reason for revocation that only a CA gives", `{"spec": {"revocation": {"reason": 2}}}`, "Unsupported value"),
		Entry("the reason for taking a revocation back", `{"spec": {"revocation": {"reason": 8}}}`, "Unsupported value"),
		Entry("the reason that doesn't exist", `{"spec": {"revocation": {"reason": 7}}}`, "Unsupported value"),
	)

	DescribeTable("can't have changed", func(ctx SpecContext, manifestPatch, patch, words string) {
		Expect(change(ctx, create(ctx, anOrder, manifestPatch), patch)).To(beRefused(words))
	},
		Entry("its issuer", `{}`, `{"spec": {"issuerRef": {"name": "another"}}}`, "issuerRef is immutable"),
		Entry("its account", `{}`, `{"spec": {"accountRef": {"name": "another"}}}`, "accountRef is immutable"),
		Entry("its identifiers", `{}`, `{"spec": {"identifiers": [{"type": "dns", "value": "b.test"}, {"type": "dns", "value": "a.test"}]}}`, "identifiers are immutable"),
		Entry("its authorizations", `{}`, `{"spec": {"authorizations": ["for-b", "for-a"]}}`, "authorizations are immutable"),
		Entry("its grants, to some", `{}`, `{"spec": {"grants": ["team", ""]}}`, "grants are immutable"),
		Entry("its grants, to others", `{"spec": {"grants": ["team", ""]}}`, `{"spec": {"grants": ["team", "team"]}}`, "grants are immutable"),
		Entry("its grants, to none", `{"spec": {"grants": ["team", ""]}}`, `{"spec": {"grants": null}}`, "grants are immutable"),
		Entry("the end of its validity, to one", `{}`, `{"spec": {"notAfter": "2030-01-01T00:00:00Z"}}`, "notBefore and notAfter are immutable"),
		Entry("the end of its validity, to another", `{"spec": {"notAfter": "2030-01-01T00:00:00Z"}}`, `{"spec": {"notAfter": "2031-01-01T00:00:00Z"}}`, "notBefore and notAfter are immutable"),
		Entry("the start of its validity, to none", `{"spec": {"notBefore": "2030-01-01T00:00:00Z"}}`, `{"spec": {"notBefore": null}}`, "notBefore and notAfter are immutable"),
		Entry("its profile, to one", `{}`, `{"spec": {"profile": "another"}}`, "profile is immutable"),
		Entry("its profile, to none", `{"spec": {"profile": "default"}}`, `{"spec": {"profile": null}}`, "profile is immutable"),
		Entry("what it replaces", `{"spec": {"replaces": "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"}}`, `{"spec": {"replaces": null}}`, "replaces is immutable"),
		Entry("the CSR of an earlier version", withCSR, `{"spec": {"csr": "another CSR"}}`, "csr is set once"),
		Entry("the CSR of an earlier version, to none", withCSR, `{"spec": {"csr": null}}`, "csr is set once"),
		Entry("the CSR of an earlier version, to one", `{}`, `{"spec": {"csr": "a CSR"}}`, "csr needs a finalization"),
		Entry("its finalization, to none", aFinalization, `{"spec": {"finalization": null}}`, "finalization is set once"),
		Entry("its finalization", aFinalization, `{"spec": {"finalization": {"time": "2029-01-01T00:00:00Z"}}}`, "finalization is set once"),
		Entry("the signature under its CSR", aFinalization, `{"spec": {"finalization": {"request": {"signature": "b3RoZXI"}}}}`, "finalization is set once"),
	)

	// The order has as many fields as one that is like most, before and afterwards.
	DescribeTable("can't have a field exchanged for another", func(ctx SpecContext, before, patch, words string) {
		const profile = `{"spec": {"profile": "default"}}`
		Expect(change(ctx, create(ctx, anOrder, profile, before), patch)).To(beRefused(words))
	},
		Entry("its account", aFinalization, `{"spec": {"accountRef": null, "replaces": "a.a"}}`, "replaces is immutable"),
		Entry("its identifiers", aFinalization, `{"spec": {"identifiers": null, "revocation": {"reason": 4}}}`, "identifiers and authorizations are immutable"),
		Entry("its authorizations", aFinalization, `{"spec": {"authorizations": null, "revocation": {"reason": 4}}}`, "identifiers and authorizations are immutable"),
		Entry("its profile", aFinalization, `{"spec": {"profile": null, "notAfter": "2030-01-01T00:00:00Z"}}`, "notBefore and notAfter are immutable"),
		Entry("its finalization", aFinalization, `{"spec": {"finalization": null, "revocation": {"reason": 4}}}`, "finalization is set once"),
		Entry("the end of its validity", `{"spec": {"profile": null, "notAfter": "2030-01-01T00:00:00Z"}}`,
			`{"spec": {"profile": "default", "notAfter": null, `+aFinalization[len(`{"spec": {`):], "notBefore and notAfter are immutable"),
		Entry("the end of its validity for a finalization", `{"spec": {"notAfter": "2030-01-01T00:00:00Z"}}`,
			`{"spec": {"notAfter": null, `+aFinalization[len(`{"spec": {`):], "notBefore and notAfter are immutable"),
		Entry("its Pod", `{"spec": {"accountRef": null, "authorizations": null, "revocation": {"reason": 4}, "pod": `+aPod+`}}`,
			`{"spec": {"pod": null, "revocation": null, "accountRef": {"name": "a"}, "authorizations": ["a", "b"], `+aFinalization[len(`{"spec": {`):],
			"accountRef and pod are immutable"),
	)

	It("is finalized and revoked with and without other fields", func(ctx SpecContext) {
		for _, patch := range []string{`{}`, `{"spec": {"profile": "default"}}`, `{"spec": {"profile": "default", "replaces": "a.a", "grants": ["", ""]}}`} {
			order := create(ctx, anOrder, patch)
			Expect(change(ctx, order, aFinalization)).To(Succeed())
			Expect(changeStatus(ctx, order, `{"status": {"state": "valid", "certificate": "one"}}`)).To(Succeed())
			Expect(change(ctx, order, `{"spec": {"revocation": {"reason": 4}}}`)).To(Succeed())
			Expect(changeStatus(ctx, order, `{"status": {"revokedAt": "2030-01-01T00:00:00Z"}}`)).To(Succeed())
		}
	})

	It("can be for a Pod, which then stays the same", func(ctx SpecContext) {
		order := create(ctx, anOrder, podOrder)
		Expect(change(ctx, order, `{"spec": {"pod": {"name": "another"}}}`)).To(beRefused("pod is immutable"))
		Expect(change(ctx, order, `{"spec": {"pod": null, "accountRef": {"name": "a"}, "authorizations": ["a", "b"]}}`)).To(beRefused("accountRef and pod are immutable"))
		Expect(change(ctx, order, `{"spec": {"identifiers": null}}`)).To(beRefused("identifiers and authorizations are immutable"))
		Expect(change(ctx, order, `{"spec": {"authorizations": ["a", "b"]}}`)).To(beRefused("identifiers and authorizations are immutable"))
		Expect(change(ctx, order, aFinalization)).To(beRefused("an order for a Pod has no authorizations or finalization"))
		Expect(change(ctx, order, `{"spec": {"revocation": {"reason": 4}}}`)).To(Succeed())
	})

	It("can be for a Pod that has only a SPIFFE ID", func(ctx SpecContext) {
		create(ctx, anOrder, podOrder, `{"spec": {"identifiers": null}}`)
	})

	It("takes a finalization once, and the same again", func(ctx SpecContext) {
		for _, patch := range []string{aFinalization, withCSR} {
			order := create(ctx, anOrder)
			Expect(change(ctx, order, patch)).To(Succeed())
			Expect(change(ctx, order, patch)).To(Succeed())
		}
	})

	It("can have a revocation asked for in another way until it is carried out, and then no more", func(ctx SpecContext) {
		order := create(ctx, anOrder, aFinalization)
		Expect(change(ctx, order, `{"spec": {"revocation": {"reason": 1, "request": {"protected": "e30", "signature": "c2ln"}}}}`)).To(Succeed())
		Expect(change(ctx, order, `{"spec": {"revocation": {"reason": 4, "request": null}}}`)).To(Succeed())
		Expect(changeStatus(ctx, order, `{"status": {"revokedAt": "2030-01-01T00:00:00Z"}}`)).To(Succeed())
		for _, patch := range []string{`{"reason": 1}`, `{"request": {"protected": "e30", "signature": "c2ln"}}`, `null`} {
			Expect(change(ctx, order, `{"spec": {"revocation": `+patch+`}}`)).To(beRefused("spec.revocation is immutable once the certificate is revoked"))
		}
		Expect(changeStatus(ctx, order, `{"status": {"revokedAt": "2031-01-01T00:00:00Z"}}`)).To(beRefused("revokedAt is set once"))
		Expect(changeStatus(ctx, order, `{"status": {"revokedAt": null}}`)).To(beRefused("revokedAt is set once"))
	})

	DescribeTable("stays", func(ctx SpecContext, state string) {
		order := create(ctx, anOrder)
		Expect(changeStatus(ctx, order, `{"status": {"state": "`+state+`"}}`)).To(Succeed())
		Expect(changeStatus(ctx, order, `{"status": {"state": "ready"}}`)).To(beRefused("the order's state is final"))
		Expect(changeStatus(ctx, order, `{"status": {"state": null}}`)).To(beRefused("the order's state is final"))
		Expect(changeStatus(ctx, order, `{"status": null}`)).To(beRefused("the order's state is final"))
	},
		Entry("valid", "valid"), Entry("invalid", "invalid"),
	)

	It("keeps its certificate and chain", func(ctx SpecContext) {
		order := create(ctx, anOrder)
		Expect(changeStatus(ctx, order, `{"status": {"state": "valid", "certificate": "one", "chain": "0a"}}`)).To(Succeed())
		Expect(changeStatus(ctx, order, `{"status": {"chain": "0b"}}`)).To(beRefused("chain is set once"))
		Expect(changeStatus(ctx, order, `{"status": {"chain": null}}`)).To(beRefused("chain is set once"))
		Expect(changeStatus(ctx, order, `{"status": {"certificate": "another"}}`)).To(beRefused("certificate is set once"))
		Expect(changeStatus(ctx, order, `{"status": {"certificate": null}}`)).To(beRefused("certificate is set once"))
	})

	It("has only known states, and bounded words", func(ctx SpecContext) {
		order := create(ctx, anOrder)
		Expect(changeStatus(ctx, order, `{"status": {"state": "deactivated"}}`)).To(beRefused("Unsupported value"))
		Expect(changeStatus(ctx, order, `{"status": {"problem": {"type": "malformed", "detail": `+text(1025)+`}}}`)).To(beRefused("Too long"))
		Expect(changeStatus(ctx, order, `{"status": {"certificate": `+text(131073)+`}}`)).To(beRefused("Too long"))
	})

	It("expires when its status says, and before when its issuer will have it", func() {
		order := &v1alpha1.AcmeOrder{}
		order.CreationTimestamp = metav1.NewTime(time.Unix(1000, 0))
		lifetimes := v1alpha1.Lifetimes{Order: metav1.Duration{Duration: time.Minute}}
		Expect(order.ExpiresAt(lifetimes).Unix()).To(BeEquivalentTo(1060))
		order.Status.Expires = &metav1.Time{Time: time.Unix(2000, 0)}
		Expect(order.ExpiresAt(lifetimes).Unix()).To(BeEquivalentTo(2000))
	})
})
