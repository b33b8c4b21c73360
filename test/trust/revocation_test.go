package trust

import (
	"context"
	"crypto/x509"
	"encoding/base64"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	xacme "golang.org/x/crypto/acme"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// revocation returns the spec of an order after a client has revoked its certificate.
func revocation(reason int, request *v1alpha1.SignedRequest) map[string]any {
	return map[string]any{"revocation": v1alpha1.Revocation{Reason: reason, Request: request}}
}

func revocationPayload(certificate *x509.Certificate, reason int) map[string]any {
	return map[string]any{"certificate": base64.RawURLEncoding.EncodeToString(certificate.Raw), "reason": reason}
}

var _ = Describe("A captured ACME server, with a victim's certificate", func() {
	const superseded = 4
	var victim, attacker *party
	var order pursuit
	var certificate *x509.Certificate

	BeforeEach(func(ctx SpecContext) {
		victim, attacker = newParty(ctx), newParty(ctx)
		order, certificate = victim.obtain(ctx, newName())
	})

	revokedByPerson := func(ctx context.Context) {
		GinkgoHelper()
		Expect(writeSpec(ctx, person, order, map[string]any{"revocation": map[string]any{"reason": superseded, "request": nil}})).To(Succeed())
		Eventually(ctx, func() any { return refresh(ctx, order.AcmeOrder).Status.RevokedAt }).WithTimeout(patience).ShouldNot(BeNil())
		expectShown(ctx, "acmeorder", order, v1alpha1.ReasonRevoked, "the certificate was revoked")
	}

	It("cannot revoke it without a request of a client", func(ctx SpecContext) {
		Expect(writeSpec(ctx, server, order, map[string]any{"revocation": map[string]any{"reason": superseded}})).
			To(MatchError(ContainSubstring("the ACME server may request a revocation only with a client's signed request")))
		Expect(refresh(ctx, order.AcmeOrder).Status.RevokedAt).To(BeNil())
		revokedByPerson(ctx)
	}, SpecTimeout(specPatience))

	DescribeTable("cannot revoke it", func(ctx SpecContext, request func(context.Context) *v1alpha1.SignedRequest, detail string) {
		forged := request(ctx)
		Expect(writeSpec(ctx, server, order, revocation(superseded, forged))).To(Succeed())

		Eventually(ctx, func() *v1alpha1.HandledRequest { return refresh(ctx, order.AcmeOrder).Status.Revocation }).WithTimeout(patience).ShouldNot(BeNil())
		Expect(order.Status.Revocation.Digest).To(Equal(forged.Digest()))
		Expect(order.Status.Revocation.Problem.Detail).To(ContainSubstring(detail))
		expectShown(ctx, "acmeorder", order, "RevocationRefused", detail)
		Expect(refresh(ctx, order.AcmeOrder).Status.RevokedAt).To(BeNil())
		Expect(order.Status.State).To(Equal(acme.StateValid))
		revokedByPerson(ctx)
	},
		Entry("signed by the attacker's account", SpecTimeout(specPatience), func(ctx context.Context) *v1alpha1.SignedRequest {
			return attacker.withheld(func() error { return attacker.RevokeCert(ctx, nil, certificate.Raw, superseded) })
		}, "is not authorized for"),
		Entry("signed by the attacker in the victim's name", SpecTimeout(specPatience), func(context.Context) *v1alpha1.SignedRequest {
			return victim.signedAs(attacker.Key, acme.RevokeCertPath, revocationPayload(certificate, superseded))
		}, "the signature does not verify"),
		Entry("signed with a key other than the certificate's", SpecTimeout(specPatience), func(ctx context.Context) *v1alpha1.SignedRequest {
			return attacker.withheld(func() error { return attacker.RevokeCert(ctx, thief, certificate.Raw, superseded) })
		}, "the request is not signed with the certificate's key"),
		Entry("signed by an account that does not exist", SpecTimeout(specPatience), func(context.Context) *v1alpha1.SignedRequest {
			nobody := &party{Client: &xacme.Client{KID: xacme.KeyID(url(acme.AccountPath("nobody")))}}
			return nobody.signedAs(attacker.Key, acme.RevokeCertPath, revocationPayload(certificate, superseded))
		}, "there is no account nobody"),
		Entry("with the victim's revocation of another certificate", SpecTimeout(specPatience), func(ctx context.Context) *v1alpha1.SignedRequest {
			_, other := victim.obtain(ctx, newName())
			return victim.withheld(func() error { return victim.RevokeCert(ctx, nil, other.Raw, superseded) })
		}, "the signed request is for another certificate or reason"),
		Entry("for another reason than the victim's", SpecTimeout(specPatience), func(ctx context.Context) *v1alpha1.SignedRequest {
			return victim.withheld(func() error { return victim.RevokeCert(ctx, nil, certificate.Raw, xacme.CRLReasonKeyCompromise) })
		}, "the signed request is for another certificate or reason"),
		Entry("with the victim's finalization", SpecTimeout(specPatience), func(ctx context.Context) *v1alpha1.SignedRequest {
			return victim.withheld(func() error { _, err := victim.FetchCert(ctx, url(acme.CertificatePath(order.Name)), true); return err })
		}, "is a POST-as-GET"),
	)

	It("cannot undo a person's revocation", func(ctx SpecContext) {
		revokedByPerson(ctx)
		Expect(writeSpec(ctx, server, order, map[string]any{"revocation": nil})).To(MatchError(ContainSubstring("spec.revocation is immutable once the certificate is revoked")))
		Expect(writeSpec(ctx, server, order, map[string]any{"revocation": map[string]any{"reason": 1}})).NotTo(Succeed())
	}, SpecTimeout(specPatience))

	It("cannot undo a person's pending request", func(ctx SpecContext) {
		// Nobody reconciles a failed order, so its revocation stays pending.
		planted := &v1alpha1.AcmeOrder{Spec: *order.Spec.DeepCopy()}
		planted.Spec.Finalization, planted.Spec.IssuerRef.Name = nil, "nobody"
		plant(ctx, planted)
		Expect(writeSpec(ctx, person, planted, map[string]any{"revocation": map[string]any{"reason": superseded}})).To(Succeed())
		const refused = "the ACME server may not change a person's request"
		Expect(writeSpec(ctx, server, planted, map[string]any{"revocation": nil})).To(MatchError(ContainSubstring(refused)))
		genuine := victim.withheld(func() error { return victim.RevokeCert(ctx, nil, certificate.Raw, superseded) })
		Expect(writeSpec(ctx, server, planted, revocation(superseded, genuine))).To(MatchError(ContainSubstring(refused)))

		authorization := plantAuthorization(ctx, "nobody", victim.account(ctx), newName(), false)
		Expect(writeSpec(ctx, person, authorization, map[string]any{"deactivation": map[string]any{}})).To(Succeed())
		Expect(writeSpec(ctx, server, authorization, map[string]any{"deactivation": nil})).To(MatchError(ContainSubstring(refused)))
	}, SpecTimeout(specPatience))
})
