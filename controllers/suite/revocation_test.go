package suite

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/crl"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
)

// revoke asks for an order's certificate to be revoked.
func revoke(ctx context.Context, order *v1alpha1.AcmeOrder, reason int, request *v1alpha1.SignedRequest) {
	GinkgoHelper()
	before := fresh(ctx, order).DeepCopy()
	order.Spec.Revocation = &v1alpha1.Revocation{Reason: reason, Request: request}
	if request != nil { // as the ACME server does; the controllers do it for a person
		order.Finalizers = []string{v1alpha1.RevocationFinalizer}
	}
	Expect(admin.Patch(ctx, order, client.MergeFrom(before))).To(Succeed())
}

func expectRevoked(ctx context.Context, order *v1alpha1.AcmeOrder) {
	GinkgoHelper()
	Eventually(ctx, func() any { return fresh(ctx, order).Status.RevokedAt }).WithTimeout(patience).ShouldNot(BeNil())
	Expect(conditionOf(order)).To(HaveField("Reason", v1alpha1.ReasonRevoked))
	Expect(order.Status.State).To(Equal(acme.StateValid))
}

// expectListed waits until a revoked order's finalizer is gone, since the CRL lists its certificate.
func (o *operator) expectListed(ctx context.Context, order *v1alpha1.AcmeOrder) {
	GinkgoHelper()
	Expect(fresh(ctx, order).Finalizers).To(ConsistOf(v1alpha1.RevocationFinalizer))
	o.clock.Step(crl.Interval)
	Eventually(ctx, func() []string { return fresh(ctx, order).Finalizers }).WithTimeout(patience).Should(BeEmpty())
	Expect(o.crlOf(ctx, order).RevokedCertificateEntries).To(ContainElement(WithTransform(func(e x509.RevocationListEntry) string {
		return v1alpha1.SerialText(e.SerialNumber)
	}, Equal(order.Status.Serial))))
}

func authorizationNamed(ctx context.Context, namespace, name string) *v1alpha1.AcmeAuthorization {
	GinkgoHelper()
	authz := &v1alpha1.AcmeAuthorization{}
	Expect(admin.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, authz)).To(Succeed())
	return authz
}

var _ = Describe("A revocation", func() {
	const superseded = 4
	var o *operator
	var owner *acmeClient
	var order *v1alpha1.AcmeOrder
	var certificate *x509.Certificate
	var key crypto.Signer

	BeforeEach(func(ctx SpecContext) {
		o = newOperator(ctx)
		owner, key = o.registered(ctx), newSigner()
		order = owner.readyOrder(ctx, "a.test", "b.test")
		owner.finalizeWith(ctx, order, newCSR(key, "a.test", "b.test"))
		certificate = expectIssued(ctx, order)
	})
	payload := func(reason int) map[string]any {
		return map[string]any{"certificate": base64.RawURLEncoding.EncodeToString(certificate.Raw), "reason": reason}
	}
	expectRefused := func(ctx context.Context, request *v1alpha1.SignedRequest, words string) {
		GinkgoHelper()
		Eventually(ctx, func() *v1alpha1.HandledRequest { return fresh(ctx, order).Status.Revocation }).WithTimeout(patience).Should(HaveField("Digest", request.Digest()))
		Expect(order.Status.Revocation.Problem.Detail).To(ContainSubstring(words))
		Expect(order.Status.RevokedAt).To(BeNil())
		Eventually(ctx, func() []string { return o.events(ctx, order) }).WithTimeout(patience).Should(ContainElement(And(HavePrefix("RevocationRefused"), ContainSubstring(words))))
		Eventually(ctx, func() []string { return fresh(ctx, order).Finalizers }).WithTimeout(patience).Should(BeEmpty(), "no CRL has to list it")
	}

	It("is carried out for the account that ordered", func(ctx SpecContext) {
		revoke(ctx, order, superseded, owner.sign(acme.RevokeCertPath, payload(superseded)))
		expectRevoked(ctx, order)
		o.expectListed(ctx, order)
	})

	It("is carried out for who has the certificate's key", func(ctx SpecContext) {
		revoke(ctx, order, superseded, sign(key, jwstest.Header{"jwk": jwstest.JWK(GinkgoTB(), key)}, acme.RevokeCertPath, payload(superseded)))
		expectRevoked(ctx, order)
	})

	It("is carried out for a person, and while the issuer is suspended or can't issue", func(ctx SpecContext) {
		o.edit(ctx, func(s *v1alpha1.AcmeIssuerSpec) { s.Suspend, s.DefaultProfile = true, "gone" })
		revoke(ctx, order, superseded, nil)
		expectRevoked(ctx, order)
		o.expectListed(ctx, order)
	})

	DescribeTable("because the key is compromised stores the key", func(ctx SpecContext, request func() *v1alpha1.SignedRequest) {
		const keyCompromise = 1
		fingerprint, err := issuers.KeyFingerprint(key.Public())
		Expect(err).NotTo(HaveOccurred())
		Expect(order.Status.KeyFingerprint).To(BeEmpty())
		revoke(ctx, order, keyCompromise, request())
		expectRevoked(ctx, order)
		Expect(fresh(ctx, order).CompromisedKey()).To(Equal(fingerprint))
		o.expectListed(ctx, order)
		again := owner.readyOrder(ctx, "a.test", "b.test")
		owner.finalizeWith(ctx, again, newCSR(key, "a.test", "b.test"))
		Expect(expectFailed(ctx, again).Detail).To(ContainSubstring("known to be compromised"))
	},
		Entry("for a person", func() *v1alpha1.SignedRequest { return nil }),
		Entry("for the account that ordered", func() *v1alpha1.SignedRequest { return owner.sign(acme.RevokeCertPath, payload(1)) }),
	)

	It("is carried out for an account that is authorized for all names now", func(ctx SpecContext) {
		other := o.registered(ctx)
		request := other.sign(acme.RevokeCertPath, payload(superseded))
		a := o.prove(ctx, other.authorize(ctx, "a.test"))
		revoke(ctx, order, superseded, request)
		expectRefused(ctx, request, `is not authorized for "b.test"`)

		o.prove(ctx, other.authorize(ctx, "b.test"))
		o.clock.Step(time.Minute)
		request = other.sign(acme.RevokeCertPath, payload(superseded))
		revoke(ctx, order, superseded, request)
		expectRevoked(ctx, order)
		Expect(a.Status.State).To(Equal(acme.StateValid))
	})

	It("ends the authorizations of the account that ordered, if the issuer asks for that and the account did not revoke", func(ctx SpecContext) {
		withKey := func() *v1alpha1.SignedRequest {
			return sign(key, jwstest.Header{"jwk": jwstest.JWK(GinkgoTB(), key)}, acme.RevokeCertPath, payload(superseded))
		}
		kept := o.prove(ctx, owner.authorize(ctx, "c.test"))
		revoke(ctx, order, superseded, withKey())
		expectRevoked(ctx, order)
		for _, name := range order.Spec.Authorizations {
			Expect(authorizationNamed(ctx, order.Namespace, name).Status.State).To(Equal(acme.StateValid), "by default")
		}

		o.edit(ctx, func(s *v1alpha1.AcmeIssuerSpec) { s.Lifetimes.EndAuthorizationsOnRevocation = true })
		renew := func() {
			order = owner.readyOrder(ctx, "a.test", "b.test")
			owner.finalizeWith(ctx, order, newCSR(key, "a.test", "b.test"))
			certificate = expectIssued(ctx, order)
		}
		renew()
		revoke(ctx, order, superseded, owner.sign(acme.RevokeCertPath, payload(superseded)))
		expectRevoked(ctx, order)
		for _, name := range order.Spec.Authorizations {
			Expect(authorizationNamed(ctx, order.Namespace, name).Status.State).To(Equal(acme.StateValid), "for the account itself")
		}

		renew()
		revoke(ctx, order, superseded, withKey())
		expectRevoked(ctx, order)
		for _, name := range order.Spec.Authorizations {
			ended := authorizationNamed(ctx, order.Namespace, name)
			Expect(ended.Status.State).To(Equal(acme.StateRevoked))
			Expect(ended.Status.Problem.Detail).To(ContainSubstring("not by this account"))
		}
		Expect(fresh(ctx, kept).Status.State).To(Equal(acme.StateValid), "for another name")
	})

	It("is refused to an account that is authorized for all names, where it says of another's key that it is compromised", func(ctx SpecContext) {
		other := o.registered(ctx)
		o.prove(ctx, other.authorize(ctx, "a.test"))
		o.prove(ctx, other.authorize(ctx, "b.test"))
		request := other.sign(acme.RevokeCertPath, payload(1))
		revoke(ctx, order, 1, request)
		expectRefused(ctx, request, "reason keyCompromise needs the ordering account")
	})

	It("is refused to an account whose proofs are over", func(ctx SpecContext) {
		other := o.registered(ctx)
		o.prove(ctx, other.authorize(ctx, "a.test"))
		o.prove(ctx, other.authorize(ctx, "b.test"))
		o.clock.Step(2 * time.Hour)
		request := other.sign(acme.RevokeCertPath, payload(superseded))
		revoke(ctx, order, superseded, request)
		expectRefused(ctx, request, "is not authorized for")
	})

	DescribeTable("is refused", func(ctx SpecContext, request func() *v1alpha1.SignedRequest, words string) {
		asked := request()
		revoke(ctx, order, superseded, asked)
		expectRefused(ctx, asked, words)
		revoke(ctx, order, superseded, owner.sign(acme.RevokeCertPath, payload(superseded)))
		expectRevoked(ctx, order)
	},
		Entry("with another key", func() *v1alpha1.SignedRequest {
			other := newSigner()
			return sign(other, jwstest.Header{"jwk": jwstest.JWK(GinkgoTB(), other)}, acme.RevokeCertPath, payload(superseded))
		}, "the request is not signed with the certificate's key"),
		Entry("with the certificate's key, signed by another", func() *v1alpha1.SignedRequest {
			return sign(newSigner(), jwstest.Header{"jwk": jwstest.JWK(GinkgoTB(), key)}, acme.RevokeCertPath, payload(superseded))
		}, "the signature does not verify"),
		Entry("with the certificate's key, for another URL", func() *v1alpha1.SignedRequest {
			return sign(key, jwstest.Header{"jwk": jwstest.JWK(GinkgoTB(), key)}, acme.NewAccountPath, payload(superseded))
		}, "the request was signed for another URL"),
		Entry("for another reason", func() *v1alpha1.SignedRequest { return owner.sign(acme.RevokeCertPath, payload(1)) }, "another certificate or reason"),
		Entry("without a certificate", func() *v1alpha1.SignedRequest {
			return owner.sign(acme.RevokeCertPath, map[string]any{"reason": superseded})
		}, "another certificate or reason"),
		Entry("without a payload", func() *v1alpha1.SignedRequest { return owner.sign(acme.RevokeCertPath, nil) }, "is a POST-as-GET"),
		Entry("in the name of no account", func() *v1alpha1.SignedRequest {
			return sign(owner.key, jwstest.Header{"kid": baseURL + "/acme/order/1"}, acme.RevokeCertPath, payload(superseded))
		}, "names no account"),
		Entry("in the name of an account that doesn't exist", func() *v1alpha1.SignedRequest {
			return sign(owner.key, jwstest.Header{"kid": baseURL + "/" + acme.AccountPath("nobody")}, acme.RevokeCertPath, payload(superseded))
		}, "there is no account nobody"),
		Entry("in a request that is none", func() *v1alpha1.SignedRequest {
			return &v1alpha1.SignedRequest{Protected: "e30", Signature: "c2ln"}
		}, "the protected header"),
	)
})
