package suite

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
)

// ask writes a request into the account's spec, as the ACME server does.
func (c *acmeClient) ask(ctx context.Context, change func(*v1alpha1.AcmeAccountSpec)) {
	GinkgoHelper()
	before := fresh(ctx, c.account).DeepCopy()
	change(&c.account.Spec)
	Expect(admin.Patch(ctx, c.account, client.MergeFrom(before))).To(Succeed())
}

// expectHandled waits until a request is handled, and returns the problem of a refused request.
func (c *acmeClient) expectHandled(ctx context.Context, request *v1alpha1.SignedRequest, outcome func(v1alpha1.AcmeAccountStatus) *v1alpha1.HandledRequest) *v1alpha1.Problem {
	GinkgoHelper()
	Eventually(ctx, func() string {
		if h := outcome(fresh(ctx, c.account).Status); h != nil {
			return h.Digest
		}
		return ""
	}).WithTimeout(patience).Should(Equal(request.Digest()))
	return outcome(c.account.Status).Problem
}

// registrationWithWeakKey returns a registration with an RSA key whose primes are close to each other, so that Fermat's method
// factors it. Go's crypto/rsa refuses such a key.
func registrationWithWeakKey() (jwk []byte, thumbprint string, request *v1alpha1.SignedRequest) {
	GinkgoHelper()
	one, e := big.NewInt(1), big.NewInt(65537)
	fit := func(p *big.Int) bool { // a prime for which 65537 has an inverse
		return p.ProbablyPrime(20) && new(big.Int).Mod(new(big.Int).Sub(p, one), e).Sign() != 0
	}
	p, err := rand.Prime(rand.Reader, 1024)
	Expect(err).NotTo(HaveOccurred())
	for !fit(p) {
		p.Add(p, big.NewInt(2))
	}
	q := new(big.Int).Add(p, big.NewInt(2))
	for !fit(q) {
		q.Add(q, big.NewInt(2))
	}
	n := new(big.Int).Mul(p, q)
	d := new(big.Int).ModInverse(e, new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one)))

	key, problem := jws.NewKey(&rsa.PublicKey{N: n, E: 65537})
	Expect(problem).To(BeNil())
	protected := jwstest.Encode(GinkgoTB(), jwstest.Header{"alg": "RS256", "jwk": json.RawMessage(key.JSON()), "url": baseURL + "/" + acme.NewAccountPath, "nonce": "bm9uY2U"})
	payload := jwstest.Encode(GinkgoTB(), struct{}{})
	// RSASSA-PKCS1-v1_5 (RFC 8017 section 8.2.1).
	digest := sha256.Sum256([]byte(protected + "." + payload))
	info := append([]byte("\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"), digest[:]...)
	padded := slices.Concat([]byte{0, 1}, bytes.Repeat([]byte{0xff}, 256-3-len(info)), []byte{0}, info)
	signature := new(big.Int).Exp(new(big.Int).SetBytes(padded), d, n).FillBytes(make([]byte, 256))
	return key.JSON(), key.Thumbprint(), &v1alpha1.SignedRequest{Protected: protected, Payload: payload, Signature: base64.RawURLEncoding.EncodeToString(signature)}
}

var _ = Describe("An account", func() {
	It("is accepted with the key and contact that its client signed", func(ctx SpecContext) {
		o := newOperator(ctx)
		client := o.register(ctx, map[string]any{"contact": []string{"mailto:a@a.test"}})
		client.expectState(ctx, acme.StateValid)
		key := jwstest.Key(GinkgoTB(), client.key)
		Expect(client.account.Status.JWK).To(Equal(string(key.JSON())))
		Expect(client.account.Status.Thumbprint).To(Equal(key.Thumbprint()))
		Expect(client.account.Status.Contact).To(ConsistOf("mailto:a@a.test"))
		Expect(client.account.Status.ObservedGeneration).To(Equal(client.account.Generation))
	})

	DescribeTable("is refused and removed", func(ctx SpecContext, payload map[string]any, edit func(*v1alpha1.AcmeIssuerSpec), words string) {
		newOperator(ctx, edit).register(ctx, payload).expectRefused(ctx, words)
	},
		Entry("without the contact that the issuer requires", map[string]any{},
			func(spec *v1alpha1.AcmeIssuerSpec) { spec.Account.RequireContact = true }, "contact"),
		Entry("with an unusable contact", map[string]any{"contact": []string{"tel:+1"}},
			func(*v1alpha1.AcmeIssuerSpec) {}, "unsupportedContact"),
		Entry("with a contact that is long and odd", map[string]any{"contact": []string{"mailto:" + strings.Repeat(`"`, 2000)}},
			func(*v1alpha1.AcmeIssuerSpec) {}, "invalidContact"),
		Entry("with a payload that is long and odd", map[string]any{"contact": strings.Repeat(`"`, 2000)},
			func(*v1alpha1.AcmeIssuerSpec) {}, "malformed"),
		Entry("with a request for an account that exists already", map[string]any{"onlyReturnExisting": true},
			func(*v1alpha1.AcmeIssuerSpec) {}, "accountDoesNotExist"),
		Entry("without agreement to the terms", map[string]any{},
			func(spec *v1alpha1.AcmeIssuerSpec) { spec.Account.TermsOfService = "https://a.test/terms" }, "https://a.test/terms"),
		Entry("without the binding that the issuer requires", map[string]any{"externalAccountBinding": nil},
			func(spec *v1alpha1.AcmeIssuerSpec) { spec.Account.ExternalAccountBinding.Required = true }, "externalAccountRequired"),
	)

	It("is refused with a key that is known to be weak", func(ctx SpecContext) {
		o := newOperator(ctx)
		jwk, thumbprint, registration := registrationWithWeakKey()
		c := &acmeClient{operator: o, account: &v1alpha1.AcmeAccount{Spec: v1alpha1.AcmeAccountSpec{
			IssuerRef: v1alpha1.ObjectRef{Name: "ca"}, JWK: string(jwk), Registration: registration,
		}}}
		c.account.Namespace, c.account.Name = o.namespace, v1alpha1.AccountName("ca", thumbprint)
		Expect(admin.Create(ctx, c.account)).To(Succeed())
		c.expectRefused(ctx, "badPublicKey")
	})

	It("remembers which terms were agreed to", func(ctx SpecContext) {
		o := newOperator(ctx, func(spec *v1alpha1.AcmeIssuerSpec) { spec.Account.TermsOfService = "https://a.test/1" })
		client := o.register(ctx, map[string]any{"termsOfServiceAgreed": true})
		client.expectState(ctx, acme.StateValid)
		Expect(client.account.Status.TermsOfServiceAgreed).To(Equal("https://a.test/1"))
		o.edit(ctx, func(spec *v1alpha1.AcmeIssuerSpec) { spec.Account.TermsOfService = "https://a.test/2" })
		request := client.sign(acme.AccountPath(client.account.Name), map[string]any{"termsOfServiceAgreed": true})
		client.ask(ctx, func(spec *v1alpha1.AcmeAccountSpec) { spec.Update = request })
		Expect(client.expectHandled(ctx, request, func(s v1alpha1.AcmeAccountStatus) *v1alpha1.HandledRequest { return s.Update })).To(BeNil())
		Expect(client.account.Status.TermsOfServiceAgreed).To(Equal("https://a.test/2"))
	})

	It("that is refused leaves its key free for another registration", func(ctx SpecContext) {
		o := newOperator(ctx, func(spec *v1alpha1.AcmeIssuerSpec) { spec.Account.RequireContact = true })
		client := o.register(ctx, map[string]any{})
		client.expectRefused(ctx, "contact")
		client.create(ctx, map[string]any{"contact": []string{"mailto:a@a.test"}})
		client.expectState(ctx, acme.StateValid)
	})

	It("waits for its issuer", func(ctx SpecContext) {
		o := newOperator(ctx)
		o.edit(ctx, func(spec *v1alpha1.AcmeIssuerSpec) { spec.DefaultProfile = "gone" })
		client := o.register(ctx, map[string]any{})
		Consistently(ctx, func() acme.State { return fresh(ctx, client.account).Status.State }).WithTimeout(500e6).Should(Equal(acme.StatePending))
		o.edit(ctx, func(spec *v1alpha1.AcmeIssuerSpec) { spec.DefaultProfile = "" })
		client.expectState(ctx, acme.StateValid)
	})

	It("has its contacts changed or removed by its client", func(ctx SpecContext) {
		client := newOperator(ctx).registered(ctx)
		for _, contact := range [][]string{{"mailto:a@a.test", "mailto:b@a.test"}, {}} {
			request := client.sign(acme.AccountPath(client.account.Name), map[string]any{"contact": contact})
			client.ask(ctx, func(spec *v1alpha1.AcmeAccountSpec) { spec.Update = request })
			Expect(client.expectHandled(ctx, request, func(s v1alpha1.AcmeAccountStatus) *v1alpha1.HandledRequest { return s.Update })).To(BeNil())
			Expect(client.account.Status.Contact).To(HaveExactElements(contact))
		}
	})

	DescribeTable("is not changed by a request that its client did not sign as such", func(ctx SpecContext, request func(*acmeClient) *v1alpha1.SignedRequest, words string) {
		client := newOperator(ctx).registered(ctx)
		asked := request(client)
		client.ask(ctx, func(spec *v1alpha1.AcmeAccountSpec) { spec.Update = asked })
		problem := client.expectHandled(ctx, asked, func(s v1alpha1.AcmeAccountStatus) *v1alpha1.HandledRequest { return s.Update })
		Expect(problem).NotTo(BeNil())
		Expect(problem.Detail).To(ContainSubstring(words))
		Eventually(ctx, func() []string { return client.events(ctx, client.account) }).WithTimeout(patience).Should(ContainElement(And(HavePrefix("UpdateRefused"), ContainSubstring(words))))
		Expect(client.account.Status.Contact).To(BeEmpty())
	},
		Entry("with a malformed payload", func(c *acmeClient) *v1alpha1.SignedRequest {
			return c.sign(acme.AccountPath(c.account.Name), json.RawMessage(`{"contact": 1}`))
		}, "the payload cannot be used"),
		Entry("with an unusable contact", func(c *acmeClient) *v1alpha1.SignedRequest {
			return c.sign(acme.AccountPath(c.account.Name), map[string]any{"contact": []string{"mailto:a"}})
		}, "contact"),
		Entry("for another URL", func(c *acmeClient) *v1alpha1.SignedRequest {
			return c.sign(acme.NewOrderPath, map[string]any{"contact": []string{"mailto:a@a.test"}})
		}, "the request was signed for another URL"),
		Entry("that is no JWS", func(*acmeClient) *v1alpha1.SignedRequest {
			return &v1alpha1.SignedRequest{Protected: "e30", Signature: "c2ln"}
		}, "the protected header"),
		Entry("with another account's name", func(c *acmeClient) *v1alpha1.SignedRequest {
			return sign(c.key, jwstest.Header{"kid": baseURL + "/" + acme.AccountPath("another")}, acme.AccountPath(c.account.Name), map[string]any{})
		}, "the request is not signed by account"),
	)

	It("is deactivated by its client, which ends its orders and authorizations", func(ctx SpecContext) {
		o := newOperator(ctx)
		client := o.registered(ctx)
		order, authz := client.readyOrder(ctx, "a.test"), client.authorize(ctx, "b.test")
		request := client.sign(acme.AccountPath(client.account.Name), map[string]any{"status": "deactivated"})
		client.ask(ctx, func(spec *v1alpha1.AcmeAccountSpec) { spec.Deactivation = &v1alpha1.Deactivation{Request: request} })
		client.expectState(ctx, acme.StateDeactivated)
		Expect(expectFailed(ctx, order).Detail).To(Equal("the account is deactivated"))
		Eventually(ctx, func() acme.State { return fresh(ctx, authz).Status.State }).WithTimeout(patience).Should(Equal(acme.StateInvalid))
	})

	It("is revoked by a person, without a signature", func(ctx SpecContext) {
		client := newOperator(ctx).registered(ctx)
		client.ask(ctx, func(spec *v1alpha1.AcmeAccountSpec) { spec.Deactivation = &v1alpha1.Deactivation{} })
		client.expectState(ctx, acme.StateRevoked)
	})
})

// expectKeyChange waits until a key change is handled, and returns the problem of a refused key change.
func (c *acmeClient) expectKeyChange(ctx context.Context, request *v1alpha1.SignedRequest) *v1alpha1.Problem {
	GinkgoHelper()
	return c.expectHandled(ctx, request, func(s v1alpha1.AcmeAccountStatus) *v1alpha1.HandledRequest { return s.KeyChange })
}

// keyChange returns the client's request to change its key.
func (c *acmeClient) keyChange(key crypto.Signer) *v1alpha1.SignedRequest {
	GinkgoHelper()
	inner := jwstest.KeyChange(GinkgoTB(), key, c.key, baseURL+"/"+acme.AccountPath(c.account.Name), baseURL+"/"+acme.KeyChangePath)
	return c.sign(acme.KeyChangePath, inner)
}

// claim creates the claim of a key.
func (c *acmeClient) claim(ctx context.Context, key crypto.Signer, request *v1alpha1.SignedRequest) *v1alpha1.AcmeAccount {
	GinkgoHelper()
	public := jwstest.Key(GinkgoTB(), key)
	claim := &v1alpha1.AcmeAccount{Spec: v1alpha1.AcmeAccountSpec{
		IssuerRef: c.account.Spec.IssuerRef, JWK: string(public.JSON()), KeyClaimFor: c.account.Name, KeyChange: request,
	}}
	claim.Namespace, claim.Name = c.namespace, v1alpha1.AccountName("ca", public.Thumbprint())
	Expect(admin.Create(ctx, claim)).To(Succeed())
	return claim
}

// changeKey changes the account's key. The client still signs with the old key.
func (c *acmeClient) changeKey(ctx context.Context, key crypto.Signer) (claim *v1alpha1.AcmeAccount) {
	GinkgoHelper()
	request := c.keyChange(key)
	claim = c.claim(ctx, key, request)
	c.ask(ctx, func(spec *v1alpha1.AcmeAccountSpec) { spec.KeyChange = request })
	Expect(c.expectKeyChange(ctx, request)).To(BeNil())
	return claim
}

var _ = Describe("A key change", func() {
	It("replaces the account's key, and the old key signs nothing any more", func(ctx SpecContext) {
		client := newOperator(ctx).registered(ctx)
		old, key := client.key, newSigner()
		claimed := client.changeKey(ctx, key)
		Expect(client.account.Status.Thumbprint).To(Equal(jwstest.Key(GinkgoTB(), key).Thumbprint()))
		Eventually(ctx, func() acme.State { return fresh(ctx, claimed).Status.State }).WithTimeout(patience).Should(Equal(v1alpha1.StateClaim))

		update := client.sign(acme.AccountPath(client.account.Name), map[string]any{"contact": []string{"mailto:old@a.test"}})
		client.ask(ctx, func(spec *v1alpha1.AcmeAccountSpec) { spec.Update = update })
		Expect(client.expectHandled(ctx, update, func(s v1alpha1.AcmeAccountStatus) *v1alpha1.HandledRequest { return s.Update }).Detail).To(ContainSubstring("does not verify"))
		Expect(old).To(Equal(client.key))
		client.key = key
		order := client.readyOrder(ctx, "a.test")
		client.finalize(ctx, order)
		expectIssued(ctx, order)
	})

	It("is refused without a claim of the key for the account", func(ctx SpecContext) {
		client := newOperator(ctx).registered(ctx)
		request := client.keyChange(newSigner())
		client.ask(ctx, func(spec *v1alpha1.AcmeAccountSpec) { spec.KeyChange = request })
		Expect(client.expectKeyChange(ctx, request).Detail).To(Equal("the new key isn't claimed for this account"))
	})

	It("is refused to the key of another account", func(ctx SpecContext) {
		o := newOperator(ctx)
		client, other := o.registered(ctx), o.registered(ctx)
		request := client.keyChange(other.key)
		client.ask(ctx, func(spec *v1alpha1.AcmeAccountSpec) { spec.KeyChange = request })
		problem := client.expectKeyChange(ctx, request)
		Expect(problem.Status).To(Equal(409))
		Expect(problem.Detail).To(ContainSubstring(other.account.Name))
	})

	It("is refused to the key that the account has", func(ctx SpecContext) {
		client := newOperator(ctx).registered(ctx)
		request := client.keyChange(client.key)
		client.ask(ctx, func(spec *v1alpha1.AcmeAccountSpec) { spec.KeyChange = request })
		Expect(client.expectKeyChange(ctx, request).Detail).To(ContainSubstring("already the key of the account"))
	})

	DescribeTable("whose claim isn't signed by both keys takes no key from others", func(ctx SpecContext, request func(*acmeClient, crypto.Signer) *v1alpha1.SignedRequest, words string) {
		o := newOperator(ctx)
		client, key := o.registered(ctx), newSigner()
		refused := &acmeClient{operator: o, key: key, account: client.claim(ctx, key, request(client, key))}
		refused.expectRefused(ctx, words)
		refused.create(ctx, map[string]any{})
		refused.expectState(ctx, acme.StateValid)
	},
		Entry("nobody", func(*acmeClient, crypto.Signer) *v1alpha1.SignedRequest { return nil }, "the claim has no signed key change"),
		Entry("another key", func(c *acmeClient, _ crypto.Signer) *v1alpha1.SignedRequest { return c.keyChange(newSigner()) }, "the claim isn't for the key"),
		Entry("another account", func(_ *acmeClient, key crypto.Signer) *v1alpha1.SignedRequest {
			other := &acmeClient{key: newSigner(), account: &v1alpha1.AcmeAccount{}}
			other.account.Name = "another"
			return other.keyChange(key)
		}, "is not signed by account"),
		Entry("the old key alone", func(c *acmeClient, key crypto.Signer) *v1alpha1.SignedRequest {
			inner := jwstest.Sign(GinkgoTB(), c.key, jwstest.Header{"jwk": jwstest.JWK(GinkgoTB(), key), "url": baseURL + "/" + acme.KeyChangePath}, struct{}{})
			return c.sign(acme.KeyChangePath, json.RawMessage(inner))
		}, "does not verify"),
	)

	It("whose claim names an account that doesn't exist takes no key from others", func(ctx SpecContext) {
		o := newOperator(ctx)
		nobody := &acmeClient{operator: o, key: newSigner(), account: &v1alpha1.AcmeAccount{}}
		nobody.account.Name, nobody.account.Spec.IssuerRef.Name = "nobody", "ca"
		key := newSigner()
		refused := &acmeClient{operator: o, key: key, account: nobody.claim(ctx, key, nobody.keyChange(key))}
		o.later(ctx, time.Minute, refused.account) // a restore may create the account after the claim
		refused.expectRefused(ctx, "there is no account nobody")
	})
})

// recreate deletes objects, and creates them again without status, as some restores do.
func (o *operator) recreate(ctx context.Context, objects ...*v1alpha1.AcmeAccount) {
	GinkgoHelper()
	for _, object := range objects {
		Expect(admin.Delete(ctx, object)).To(Succeed())
	}
	for _, object := range objects {
		object.ObjectMeta = metav1.ObjectMeta{Namespace: object.Namespace, Name: object.Name}
		object.Status = v1alpha1.AcmeAccountStatus{}
		Expect(admin.Create(ctx, object)).To(Succeed())
	}
}

var _ = Describe("An account that is restored without status", func() {
	It("is accepted with the key of its registration if it never had another", func(ctx SpecContext) {
		o := newOperator(ctx)
		client := o.registered(ctx)
		thumbprint := client.account.Status.Thumbprint
		o.recreate(ctx, client.account)
		client.expectState(ctx, acme.StateValid)
		Expect(client.account.Status.Thumbprint).To(Equal(thumbprint))
	})

	DescribeTable("isn't accepted with a key that it gave up", func(ctx SpecContext, inOrder func(account, claim *v1alpha1.AcmeAccount) []*v1alpha1.AcmeAccount) {
		o := newOperator(ctx)
		client := o.registered(ctx)
		key := newSigner()
		claim := client.changeKey(ctx, key)
		Eventually(ctx, func() acme.State { return fresh(ctx, claim).Status.State }).WithTimeout(patience).Should(Equal(v1alpha1.StateClaim))
		status := fresh(ctx, client.account).Status.DeepCopy()

		o.recreate(ctx, inOrder(client.account, claim)...)
		Eventually(ctx, func() []string { return client.events(ctx, client.account) }).WithTimeout(patience).
			Should(ContainElement(And(HavePrefix("RegistrationRefused"), ContainSubstring("restore the status"))))
		update := client.sign(acme.AccountPath(client.account.Name), map[string]any{"contact": []string{"mailto:old@a.test"}})
		client.ask(ctx, func(spec *v1alpha1.AcmeAccountSpec) { spec.Update = update })
		Eventually(ctx, func() int64 { return fresh(ctx, client.account).Status.ObservedGeneration }).WithTimeout(patience).Should(Equal(client.account.Generation))
		Expect(client.account.Status.State).To(Equal(acme.StatePending))
		Expect(client.account.Status.JWK).To(BeEmpty())
		Expect(fresh(ctx, claim).Status.State).To(Equal(acme.StatePending))

		By("restoring its status")
		status.ObservedGeneration = 0 // of a generation in the old cluster
		client.account.Status = *status
		Expect(admin.Status().Update(ctx, client.account)).To(Succeed())
		Eventually(ctx, func() acme.State { return fresh(ctx, claim).Status.State }).WithTimeout(patience).Should(Equal(v1alpha1.StateClaim))
		Expect(client.expectHandled(ctx, update, func(s v1alpha1.AcmeAccountStatus) *v1alpha1.HandledRequest { return s.Update }).Detail).To(ContainSubstring("does not verify"))
		client.key = key
		order := client.readyOrder(ctx, "a.test")
		client.finalize(ctx, order)
		expectIssued(ctx, order)
	},
		Entry("before its claim", func(account, claim *v1alpha1.AcmeAccount) []*v1alpha1.AcmeAccount {
			return []*v1alpha1.AcmeAccount{account, claim}
		}),
		Entry("after its claim", func(account, claim *v1alpha1.AcmeAccount) []*v1alpha1.AcmeAccount {
			return []*v1alpha1.AcmeAccount{claim, account}
		}),
	)

	It("is ended by a person if it changed its key", func(ctx SpecContext) {
		o := newOperator(ctx)
		client := o.registered(ctx)
		o.recreate(ctx, client.changeKey(ctx, newSigner()), client.account)
		client.ask(ctx, func(spec *v1alpha1.AcmeAccountSpec) { spec.Deactivation = &v1alpha1.Deactivation{} })
		client.expectState(ctx, acme.StateRevoked)
	})
})
