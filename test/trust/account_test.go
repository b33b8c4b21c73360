package trust

import (
	"context"
	"crypto"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"math/big"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	xacme "golang.org/x/crypto/acme"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/test/internal/certificates"
)

// accountName returns the name of a key's AcmeAccount.
func accountName(key crypto.Signer) string {
	GinkgoHelper()
	return v1alpha1.AccountName(issuerName, jwstest.Key(GinkgoTB(), key).Thumbprint())
}

// accountFor returns an account as an ACME server creates it for a key.
func accountFor(key crypto.Signer) *v1alpha1.AcmeAccount {
	GinkgoHelper()
	account := &v1alpha1.AcmeAccount{Spec: v1alpha1.AcmeAccountSpec{
		IssuerRef: v1alpha1.ObjectRef{Name: issuerName}, JWK: string(jwstest.JWK(GinkgoTB(), key)),
	}}
	account.Name = accountName(key)
	return account
}

// withOtherSignature returns the same request with another valid signature: ECDSA accepts (r, s) and (r, n-s).
func withOtherSignature(request *v1alpha1.SignedRequest) *v1alpha1.SignedRequest {
	GinkgoHelper()
	signature, err := base64.RawURLEncoding.DecodeString(request.Signature)
	Expect(err).NotTo(HaveOccurred())
	Expect(signature).To(HaveLen(64))
	s := new(big.Int).SetBytes(signature[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(signature[32:])
	other := request.DeepCopy()
	other.Signature = base64.RawURLEncoding.EncodeToString(signature)
	return other
}

// expectGone waits until an account is removed, because it was never accepted.
func expectGone(ctx context.Context, account *v1alpha1.AcmeAccount) {
	GinkgoHelper()
	Eventually(ctx, func() bool {
		return apierrors.IsNotFound(person.Get(ctx, client.ObjectKeyFromObject(account), &v1alpha1.AcmeAccount{}))
	}).WithTimeout(patience).Should(BeTrue())
}

var _ = Describe("A captured ACME server, with a newcomer's public key", func() {
	var comer, attacker *party
	BeforeEach(func(ctx SpecContext) { comer, attacker = newcomer(), newParty(ctx) })

	contact := map[string]any{"contact": []string{"mailto:attacker@client.test"}}

	DescribeTable("cannot register an account for it", func(ctx SpecContext, registration func(context.Context) *v1alpha1.SignedRequest, detail string) {
		account := accountFor(comer.Key)
		account.Spec.Registration = registration(ctx)
		plant(ctx, account)

		expectEvent(ctx, account.Name, "RegistrationRefused", detail)
		expectGone(ctx, account)
		comer.register(ctx)
		comer.obtain(ctx, newName())
	},
		Entry("without a signature", SpecTimeout(specPatience), func(context.Context) *v1alpha1.SignedRequest {
			return garbled(sign(attacker.Key, jwk(comer.Key), acme.NewAccountPath, contact))
		}, "the signature does not verify"),
		Entry("signed with another key than the one in the request", SpecTimeout(specPatience), func(context.Context) *v1alpha1.SignedRequest {
			return sign(attacker.Key, jwk(comer.Key), acme.NewAccountPath, contact)
		}, "the signature does not verify"),
		Entry("signed with another key that the request names", SpecTimeout(specPatience), func(context.Context) *v1alpha1.SignedRequest {
			return sign(attacker.Key, jwk(attacker.Key), acme.NewAccountPath, contact)
		}, "the account isn't that of the key which signed the registration"),
		Entry("signed by an account", SpecTimeout(specPatience), func(context.Context) *v1alpha1.SignedRequest {
			return attacker.signedAs(attacker.Key, acme.NewAccountPath, contact)
		}, "a newAccount request must be signed with a \"jwk\""),
		Entry("with another request of the newcomer", SpecTimeout(specPatience), func(ctx context.Context) *v1alpha1.SignedRequest {
			return comer.withheld(func() error { return comer.RevokeCert(ctx, comer.Key, []byte("a certificate"), 0) })
		}, "the request was signed for another URL"),
	)

	It("cannot change the newcomer's registration", func(ctx SpecContext) {
		account := accountFor(comer.Key)
		account.Spec.Registration = comer.withheld(func() error {
			_, err := comer.Register(ctx, &xacme.Account{Contact: []string{"mailto:newcomer@client.test"}}, xacme.AcceptTOS)
			return err
		})
		account.Spec.Contact = []string{"mailto:attacker@client.test"}
		plant(ctx, account)
		Eventually(ctx, func() acme.State { return refresh(ctx, account).Status.State }).WithTimeout(patience).Should(Equal(acme.StateValid))
		Expect(account.Status.Contact).To(ConsistOf("mailto:newcomer@client.test"))
		Expect(kubectl(ctx, "get", "acmeacct", account.Name)).To(ContainSubstring("newcomer@client.test"))
	}, SpecTimeout(specPatience))

	DescribeTable("cannot reserve it for an account without it", func(ctx SpecContext, request func(*v1alpha1.AcmeAccount) *v1alpha1.SignedRequest, detail string) {
		claim := accountFor(comer.Key)
		claim.Spec.KeyClaimFor = attacker.account(ctx).Name
		claim.Spec.KeyChange = request(claim)
		plant(ctx, claim)

		expectEvent(ctx, claim.Name, "KeyClaimRefused", detail)
		expectGone(ctx, claim)
		comer.register(ctx)
		comer.obtain(ctx, newName())
	},
		Entry("without a request", SpecTimeout(specPatience), func(*v1alpha1.AcmeAccount) *v1alpha1.SignedRequest { return nil },
			"the claim has no signed key change"),
		Entry("with a request that the key didn't sign", SpecTimeout(specPatience), func(*v1alpha1.AcmeAccount) *v1alpha1.SignedRequest {
			inner := jwstest.Sign(GinkgoTB(), attacker.Key, withURL(jwk(comer.Key)), keyChangePayload(attacker, attacker.Key))
			return attacker.signedAs(attacker.Key, acme.KeyChangePath, json.RawMessage(inner))
		}, "the signature does not verify"),
		Entry("with a request for another key", SpecTimeout(specPatience), func(*v1alpha1.AcmeAccount) *v1alpha1.SignedRequest {
			return attacker.signedAs(attacker.Key, acme.KeyChangePath, innerKeyChange(attacker, certificates.NewKey(), attacker.Key))
		}, "the claim isn't for the key that the request names"),
	)
})

// keyChangePayload returns the payload of the request inside a key change (RFC 8555 section 7.3.5).
func keyChangePayload(p *party, oldKey crypto.Signer) map[string]any {
	GinkgoHelper()
	return map[string]any{"account": string(p.KID), "oldKey": jwstest.JWK(GinkgoTB(), oldKey)}
}

// innerKeyChange returns the request inside a key change.
func innerKeyChange(p *party, key, oldKey crypto.Signer) json.RawMessage {
	GinkgoHelper()
	return jwstest.KeyChange(GinkgoTB(), key, oldKey, string(p.KID), url(acme.KeyChangePath))
}

func withURL(header jwstest.Header) jwstest.Header {
	header["url"] = url(acme.KeyChangePath)
	return header
}

var _ = Describe("A captured ACME server, with a victim's account", func() {
	var victim, attacker *party
	var account *v1alpha1.AcmeAccount
	BeforeEach(func(ctx SpecContext) {
		victim, attacker = newParty(ctx), newParty(ctx)
		account = victim.account(ctx)
	})

	// expectUnharmed checks that an account is unchanged, also for its client.
	expectUnharmed := func(ctx context.Context) {
		GinkgoHelper()
		before := account.Status
		refresh(ctx, account)
		Expect(account.Status.State).To(Equal(acme.StateValid))
		Expect(account.Status.JWK).To(Equal(before.JWK))
		Expect(account.Status.Contact).To(Equal(before.Contact))
		victim.obtain(ctx, newName())
	}

	type handled = func(*v1alpha1.AcmeAccount) *v1alpha1.HandledRequest
	expectRefused := func(ctx context.Context, outcome handled, reason, detail string) {
		GinkgoHelper()
		Eventually(ctx, func() *v1alpha1.HandledRequest { return outcome(refresh(ctx, account.DeepCopy())) }).WithTimeout(patience).ShouldNot(BeNil())
		Expect(outcome(refresh(ctx, account.DeepCopy())).Problem.Detail).To(ContainSubstring(detail))
		expectShown(ctx, "acmeaccount", account, reason, detail)
	}

	DescribeTable("cannot change its contacts", func(ctx SpecContext, request func(context.Context) *v1alpha1.SignedRequest, detail string) {
		Expect(writeSpec(ctx, server, account, map[string]any{"update": request(ctx), "contact": []string{"mailto:attacker@client.test"}})).To(Succeed())
		expectRefused(ctx, func(a *v1alpha1.AcmeAccount) *v1alpha1.HandledRequest { return a.Status.Update }, "UpdateRefused", detail)
		expectUnharmed(ctx)
		_, err := victim.UpdateReg(ctx, &xacme.Account{Contact: []string{"mailto:new@client.test"}})
		Expect(err).NotTo(HaveOccurred())
		Expect(refresh(ctx, account).Status.Contact).To(ConsistOf("mailto:new@client.test"))
	},
		Entry("signed by the attacker's account", SpecTimeout(specPatience), func(context.Context) *v1alpha1.SignedRequest {
			return attacker.signedAs(attacker.Key, acme.AccountPath(account.Name), map[string]any{"contact": []string{"mailto:attacker@client.test"}})
		}, "the request is not signed by account"),
		Entry("signed by the attacker in the victim's name", SpecTimeout(specPatience), func(context.Context) *v1alpha1.SignedRequest {
			return victim.signedAs(attacker.Key, acme.AccountPath(account.Name), map[string]any{"contact": []string{"mailto:attacker@client.test"}})
		}, "the signature does not verify"),
	)

	It("cannot use up the victim's request with a garbled copy", func(ctx SpecContext) {
		genuine := victim.withheld(func() error {
			_, err := victim.UpdateReg(ctx, &xacme.Account{Contact: []string{"mailto:new@client.test"}})
			return err
		})
		garbled := *genuine
		garbled.Payload = jwstest.Encode(GinkgoTB(), map[string]any{"contact": []string{"mailto:attacker@client.test"}})
		Expect(writeSpec(ctx, server, account, map[string]any{"update": garbled})).To(Succeed())
		expectRefused(ctx, func(a *v1alpha1.AcmeAccount) *v1alpha1.HandledRequest { return a.Status.Update }, "UpdateRefused", "the signature does not verify")
		Expect(writeSpec(ctx, server, account, map[string]any{"update": genuine})).To(Succeed())
		Eventually(ctx, func() []string { return refresh(ctx, account).Status.Contact }).WithTimeout(patience).Should(ConsistOf("mailto:new@client.test"))
	}, SpecTimeout(specPatience))

	It("cannot undo the victim's later changes with an earlier request of the victim", func(ctx SpecContext) {
		update := func(contact string) *v1alpha1.SignedRequest {
			GinkgoHelper()
			_, err := victim.UpdateReg(ctx, &xacme.Account{Contact: []string{contact}})
			Expect(err).NotTo(HaveOccurred())
			return refresh(ctx, account).Spec.Update
		}
		first := update("mailto:first@client.test").DeepCopy()
		update("mailto:second@client.test")
		for _, again := range []*v1alpha1.SignedRequest{first, withOtherSignature(first)} {
			Expect(writeSpec(ctx, server, account, map[string]any{"update": again})).To(Succeed())
			expectRefused(ctx, func(a *v1alpha1.AcmeAccount) *v1alpha1.HandledRequest {
				if h := a.Status.Update; h.Digest == again.Digest() {
					return h
				}
				return nil
			}, "UpdateRefused", "the request was carried out before")
			expectUnharmed(ctx)
		}
	}, SpecTimeout(specPatience))

	It("cannot restore a key that the victim has replaced, also after the victim has used it twice", func(ctx SpecContext) {
		first, second := victim.Key, certificates.NewKey()
		Expect(victim.AccountKeyRollover(ctx, second)).To(Succeed())
		change := refresh(ctx, account).Spec.KeyChange.DeepCopy()
		third := certificates.NewKey()
		Expect(victim.AccountKeyRollover(ctx, third)).To(Succeed())
		Expect(victim.AccountKeyRollover(ctx, second)).To(Succeed(), "a key that it had by a key change")
		again := refresh(ctx, account).Spec.KeyChange.DeepCopy()
		Expect(victim.AccountKeyRollover(ctx, third)).To(Succeed())
		refresh(ctx, account)
		for what, request := range map[string]*v1alpha1.SignedRequest{"signed by the first key": change, "signed by the key it has now": again} {
			By(what)
			Expect(writeSpec(ctx, server, account, map[string]any{"keyChange": request})).To(Succeed())
			expectRefused(ctx, func(a *v1alpha1.AcmeAccount) *v1alpha1.HandledRequest {
				if h := a.Status.KeyChange; h.Digest == request.Digest() {
					return h
				}
				return nil
			}, "KeyChangeRefused", "the request was carried out before")
			expectUnharmed(ctx)
		}
		Expect(victim.Key).NotTo(Equal(first))
	}, SpecTimeout(specPatience))

	It("cannot deactivate it without a request of the victim", func(ctx SpecContext) {
		err := writeSpec(ctx, server, account, map[string]any{"deactivation": map[string]any{}})
		Expect(apierrors.IsForbidden(err) || apierrors.IsInvalid(err)).To(BeTrue(), "%v", err)
		Expect(err).To(MatchError(ContainSubstring("the ACME server may request a deactivation only with a client's signed request")))
		expectUnharmed(ctx)
	}, SpecTimeout(specPatience))

	DescribeTable("cannot deactivate it", func(ctx SpecContext, request func(context.Context) *v1alpha1.SignedRequest, detail string) {
		Expect(writeSpec(ctx, server, account, map[string]any{"deactivation": v1alpha1.Deactivation{Request: request(ctx)}})).To(Succeed())
		expectRefused(ctx, func(a *v1alpha1.AcmeAccount) *v1alpha1.HandledRequest { return a.Status.Deactivation }, "DeactivationRefused", detail)
		expectUnharmed(ctx)
		Expect(victim.DeactivateReg(ctx)).To(Succeed())
		Expect(refresh(ctx, account).Status.State).To(Equal(acme.StateDeactivated))
	},
		Entry("signed by the attacker's account", SpecTimeout(specPatience), func(context.Context) *v1alpha1.SignedRequest {
			return attacker.signedAs(attacker.Key, acme.AccountPath(account.Name), map[string]any{"status": "deactivated"})
		}, "the request is not signed by account"),
		Entry("signed by the attacker in the victim's name", SpecTimeout(specPatience), func(context.Context) *v1alpha1.SignedRequest {
			return victim.signedAs(attacker.Key, acme.AccountPath(account.Name), map[string]any{"status": "deactivated"})
		}, "the signature does not verify"),
		Entry("with the attacker's deactivation of its own account", SpecTimeout(specPatience), func(ctx context.Context) *v1alpha1.SignedRequest {
			return attacker.withheld(func() error { return attacker.DeactivateReg(ctx) })
		}, "the request was signed for another URL"),
		Entry("with the victim's change of contacts", SpecTimeout(specPatience), func(ctx context.Context) *v1alpha1.SignedRequest {
			return victim.withheld(func() error {
				_, err := victim.UpdateReg(ctx, &xacme.Account{Contact: []string{"mailto:new@client.test"}})
				return err
			})
		}, "the request does not ask for deactivation"),
		Entry("with the victim's deactivation of an authorization", SpecTimeout(specPatience), func(ctx context.Context) *v1alpha1.SignedRequest {
			order := victim.order(ctx, newName())
			return victim.withheld(func() error { return victim.RevokeAuthorization(ctx, order.client.AuthzURLs[0]) })
		}, "the request was signed for another URL"),
	)

	It("leaves a person the right to deactivate it, whatever the server wrote", func(ctx SpecContext) {
		forged := attacker.signedAs(attacker.Key, acme.AccountPath(account.Name), map[string]any{"status": "deactivated"})
		Expect(writeSpec(ctx, server, account, map[string]any{"deactivation": v1alpha1.Deactivation{Request: forged}})).To(Succeed())
		expectRefused(ctx, func(a *v1alpha1.AcmeAccount) *v1alpha1.HandledRequest { return a.Status.Deactivation }, "DeactivationRefused", "is not signed by account")
		Expect(writeSpec(ctx, person, account, map[string]any{"deactivation": map[string]any{"request": nil}})).To(Succeed())
		Eventually(ctx, func() acme.State { return refresh(ctx, account).Status.State }).WithTimeout(patience).Should(Equal(acme.StateRevoked))
	}, SpecTimeout(specPatience))

	DescribeTable("cannot change its key", func(ctx SpecContext, request func(ctx context.Context, key crypto.Signer) *v1alpha1.SignedRequest, detail string) {
		key := certificates.NewKey()
		forged := request(ctx, key)
		Expect(writeSpec(ctx, server, account, map[string]any{"keyChange": forged})).To(Succeed())

		expectRefused(ctx, func(a *v1alpha1.AcmeAccount) *v1alpha1.HandledRequest { return a.Status.KeyChange }, "KeyChangeRefused", detail)
		expectUnharmed(ctx)
		own := certificates.NewKey()
		Expect(victim.AccountKeyRollover(ctx, own)).To(Succeed())
		Expect(refresh(ctx, account).Status.Thumbprint).To(Equal(jwstest.Key(GinkgoTB(), own).Thumbprint()))
		victim.obtain(ctx, newName())
	},
		Entry("with the attacker's signature around the new key's", SpecTimeout(specPatience), func(_ context.Context, key crypto.Signer) *v1alpha1.SignedRequest {
			return victim.signedAs(attacker.Key, acme.KeyChangePath, innerKeyChange(victim, key, victim.Key))
		}, "the signature does not verify"),
		Entry("with the attacker's account around the new key's signature", SpecTimeout(specPatience), func(_ context.Context, key crypto.Signer) *v1alpha1.SignedRequest {
			return attacker.signedAs(attacker.Key, acme.KeyChangePath, innerKeyChange(victim, key, victim.Key))
		}, "the request is not signed by account"),
		Entry("with the victim's signature around a signature of another key", SpecTimeout(specPatience), func(_ context.Context, key crypto.Signer) *v1alpha1.SignedRequest {
			inner := jwstest.Sign(GinkgoTB(), attacker.Key, withURL(jwk(key)), keyChangePayload(victim, victim.Key))
			return victim.signedAs(victim.Key, acme.KeyChangePath, json.RawMessage(inner))
		}, "the signature does not verify"),
		Entry("with the victim's signature around a change of another account", SpecTimeout(specPatience), func(_ context.Context, key crypto.Signer) *v1alpha1.SignedRequest {
			return victim.signedAs(victim.Key, acme.KeyChangePath, innerKeyChange(attacker, key, attacker.Key))
		}, "is not the account that signed the outer request"),
		Entry("with the victim's signature around a change from another key", SpecTimeout(specPatience), func(_ context.Context, key crypto.Signer) *v1alpha1.SignedRequest {
			return victim.signedAs(victim.Key, acme.KeyChangePath, innerKeyChange(victim, key, attacker.Key))
		}, "is not the current key of the account"),
		Entry("with the attacker's genuine change of its own key", SpecTimeout(specPatience), func(ctx context.Context, key crypto.Signer) *v1alpha1.SignedRequest {
			return attacker.withheld(func() error { return attacker.AccountKeyRollover(ctx, key) })
		}, "the request is not signed by account"),
		Entry("with a genuine change to a key that the attacker has registered", SpecTimeout(specPatience), func(ctx context.Context, key crypto.Signer) *v1alpha1.SignedRequest {
			genuine := victim.withheld(func() error { return victim.AccountKeyRollover(ctx, key) })
			taker := newcomer()
			taker.Key = key
			taker.register(ctx)
			return genuine
		}, "the new key belongs to account"),
		Entry("with a genuine change without a claim for the key", SpecTimeout(specPatience), func(ctx context.Context, key crypto.Signer) *v1alpha1.SignedRequest {
			return victim.withheld(func() error { return victim.AccountKeyRollover(ctx, key) })
		}, "the new key isn't claimed for this account"),
	)

	It("cannot restore a key that the victim has changed", func(ctx SpecContext) {
		old := victim.Key
		Expect(victim.AccountKeyRollover(ctx, certificates.NewKey())).To(Succeed())
		refresh(ctx, account)
		order := victim.readyOrder(ctx, newName())
		stolen := csr(thief, order.Spec.Identifiers[0].Value)
		forged := victim.signedAs(old, acme.FinalizePath(order.Name), csrPayload(stolen))
		Expect(writeSpec(ctx, server, order, finalization(forged))).To(Succeed())
		expectFailed(ctx, victim, order, "the signature does not verify")

		back := victim.signedAs(old, acme.KeyChangePath, innerKeyChange(victim, old, victim.Key))
		Expect(writeSpec(ctx, server, account, map[string]any{"keyChange": back})).To(Succeed())
		expectRefused(ctx, func(a *v1alpha1.AcmeAccount) *v1alpha1.HandledRequest {
			if h := a.Status.KeyChange; h.Digest == back.Digest() {
				return h
			}
			return nil
		}, "KeyChangeRefused", "the signature does not verify")
		expectUnharmed(ctx)
	}, SpecTimeout(specPatience))

	Context("that has an order which is ready", func() {
		var order pursuit
		var authorization *v1alpha1.AcmeAuthorization
		BeforeEach(func(ctx SpecContext) {
			order = victim.readyOrder(ctx, newName())
			authorization = authorizations(ctx, order)[0]
		})

		It("cannot deactivate its authorization without a request of the victim", func(ctx SpecContext) {
			Expect(writeSpec(ctx, server, authorization, map[string]any{"deactivation": map[string]any{}})).
				To(MatchError(ContainSubstring("the ACME server may request a deactivation only with a client's signed request")))
			victim.finalize(ctx, order)
		}, SpecTimeout(specPatience))

		DescribeTable("cannot deactivate its authorization", func(ctx SpecContext, request func(context.Context) *v1alpha1.SignedRequest, detail string) {
			Expect(writeSpec(ctx, server, authorization, map[string]any{"deactivation": v1alpha1.Deactivation{Request: request(ctx)}})).To(Succeed())
			expectShown(ctx, "acmeauthorization", authorization, "DeactivationRefused", detail)
			Expect(refresh(ctx, authorization).Status.State).To(Equal(acme.StateValid))
			victim.finalize(ctx, order)
			Expect(victim.RevokeAuthorization(ctx, order.client.AuthzURLs[0])).To(Succeed())
			Expect(refresh(ctx, authorization).Status.State).To(Equal(acme.StateDeactivated))
		},
			Entry("signed by the attacker's account", SpecTimeout(specPatience), func(context.Context) *v1alpha1.SignedRequest {
				return attacker.signedAs(attacker.Key, acme.AuthorizationPath(authorization.Name), map[string]any{"status": "deactivated"})
			}, "the request is not signed by account"),
			Entry("signed by the attacker in the victim's name", SpecTimeout(specPatience), func(context.Context) *v1alpha1.SignedRequest {
				return victim.signedAs(attacker.Key, acme.AuthorizationPath(authorization.Name), map[string]any{"status": "deactivated"})
			}, "the signature does not verify"),
			Entry("with the victim's POST-as-GET of it", SpecTimeout(specPatience), func(ctx context.Context) *v1alpha1.SignedRequest {
				return victim.withheld(func() error { _, err := victim.GetAuthorization(ctx, order.client.AuthzURLs[0]); return err })
			}, "this request needs a JSON payload, and is a POST-as-GET"),
			Entry("with the victim's deactivation of another authorization", SpecTimeout(specPatience), func(ctx context.Context) *v1alpha1.SignedRequest {
				other := victim.order(ctx, newName())
				return victim.withheld(func() error { return victim.RevokeAuthorization(ctx, other.client.AuthzURLs[0]) })
			}, "the request was signed for another URL"),
		)
	})

	It("cannot change its issuer, key or registration", func(ctx SpecContext) {
		for member, value := range map[string]any{
			"issuerRef": map[string]any{"name": "nobody"},
			"jwk":       string(jwstest.JWK(GinkgoTB(), attacker.Key)),
		} {
			Expect(writeSpec(ctx, server, account, map[string]any{member: value})).To(MatchError(ContainSubstring(member + " is immutable")))
		}
		Expect(writeSpec(ctx, server, account, map[string]any{"registration": attacker.account(ctx).Spec.Registration})).
			To(MatchError(ContainSubstring("registration is immutable")))
		Expect(writeSpec(ctx, server, account, map[string]any{"keyClaimFor": attacker.account(ctx).Name})).
			To(MatchError(ContainSubstring("keyClaimFor is immutable")))
		expectUnharmed(ctx)
	}, SpecTimeout(specPatience))
})

var _ = Describe("A person", func() {
	It("sees all of an account in kubectl", func(ctx SpecContext) {
		p := newParty(ctx)
		Expect(kubectl(ctx, "get", "acme", "--namespace", local.Namespace)).To(ContainSubstring(p.account(ctx).Name))
	}, SpecTimeout(specPatience))
})
