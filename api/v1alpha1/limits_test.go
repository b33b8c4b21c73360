package v1alpha1_test

import (
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// at nests a JSON value in objects: at("spec.update", v) is {"spec": {"update": v}}.
func at(path, value string) string {
	names := strings.Split(path, ".")
	for i := len(names) - 1; i >= 0; i-- {
		value = fmt.Sprintf("{%q: %s}", names[i], value)
	}
	return value
}

var _ = Describe("A signed request", func() {
	request := func(protected, payload, signature int) string {
		return `{"protected": ` + text(protected) + `, "payload": ` + text(payload) + `, "signature": ` + text(signature) + `}`
	}
	const withResponse = `{"spec": {"response": {"type": "http-01"}}}`

	DescribeTable("is as large as its purpose needs, and no larger", func(ctx SpecContext, manifest, other, path string, limit int, words string) {
		create(ctx, manifest, other, at(path, request(v1alpha1.MaxProtected, limit, v1alpha1.MaxSignature)))
		Expect(note(admin.Create(ctx, object(manifest, other, at(path, request(1, limit+1, 1)))))).To(beRefused(words))
		Expect(note(admin.Create(ctx, object(manifest, other, at(path, request(v1alpha1.MaxProtected+1, 1, 1)))))).To(beRefused("Too long"))
		Expect(note(admin.Create(ctx, object(manifest, other, at(path, request(1, 1, v1alpha1.MaxSignature+1)))))).To(beRefused("Too long"))
	},
		Entry("newAccount", anAccount, `{}`, "spec.registration", v1alpha1.MaxAccountPayload, "must be at most 12288 characters"),
		Entry("an account update", anAccount, `{}`, "spec.update", v1alpha1.MaxAccountPayload, "must be at most 12288 characters"),
		Entry("a key change", anAccount, `{}`, "spec.keyChange", v1alpha1.MaxKeyChangePayload, "must be at most 6144 characters"),
		Entry("a deactivation of an account", anAccount, `{}`, "spec.deactivation.request", v1alpha1.MaxShortPayload, "must be at most 512 characters"),
		Entry("a challenge response", anAuthorization, withResponse, "spec.response.request", v1alpha1.MaxShortPayload, "must be at most 512 characters"),
		Entry("a deactivation of an authorization", anAuthorization, `{}`, "spec.deactivation.request", v1alpha1.MaxShortPayload, "must be at most 512 characters"),
		Entry("finalize", anOrder, aFinalization, "spec.finalization.request", v1alpha1.MaxPayload, "Too long"),
		Entry("revokeCert", anOrder, `{}`, "spec.revocation.request", v1alpha1.MaxPayload, "Too long"),
	)
})

// Text that Go cannot parse as a time would stop every list and watch of the kind.
var _ = DescribeTable("A time in a spec", func(ctx SpecContext, manifest, other, path string) {
	for _, good := range []string{"2026-01-01T00:00:00Z", "2026-01-01T00:00:00.5+14:00"} {
		create(ctx, manifest, other, at(path, fmt.Sprintf("%q", good)))
	}
	for _, bad := range []string{
		"2026-01-01t00:00:00z", "2026-01-01t00:00:00Z", "2026-01-01T00:00:00z", "2026-01-01T00:00:00x5Z", "2026-01-01T00:00:00+99:99",
		"2026-02-30T00:00:00Z", "2026-01-01T00:00:00ZTmore", "2026-01-01", "",
	} {
		Expect(note(admin.Create(ctx, object(manifest, other, at(path, fmt.Sprintf("%q", bad)))))).To(beRefused(path), bad)
	}
},
	Entry("of an issuer: renewIssuedBefore", anIssuer, `{}`, "spec.renewalInfo.renewIssuedBefore"),
	Entry("of an order: notBefore", anOrder, `{}`, "spec.notBefore"),
	Entry("of an order: notAfter", anOrder, `{}`, "spec.notAfter"),
	Entry("of an order: the finalization's time", anOrder, aFinalization, "spec.finalization.time"),
)
