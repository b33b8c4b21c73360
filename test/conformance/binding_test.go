package conformance

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
	"github.com/acmeca/acmeca/internal/jws/stored"
)

var keysMade atomic.Int32

// externalKey creates a key of an external account, with additional entries in its Secret.
func externalKey(ctx SpecContext, issuer *v1alpha1.AcmeIssuer, entries map[string]string) (id string, hmacKey []byte) {
	GinkgoHelper()
	number := keysMade.Add(1)
	id, hmacKey = fmt.Sprintf("key-%d", number), bytes.Repeat([]byte{byte(number)}, 64)
	secret := &corev1.Secret{Type: "acmeca.dev/external-account-key", StringData: map[string]string{"hmac-key": base64.RawURLEncoding.EncodeToString(hmacKey)}}
	for name, value := range entries {
		secret.StringData[name] = value
	}
	secret.Namespace, secret.Name = issuer.Namespace, issuer.Name+"-eab-"+id
	Expect(kube.Create(ctx, secret)).To(Succeed())
	return id, hmacKey
}

// bound returns the payload of a registration with an external account binding.
func (a *account) bound(id string, hmacKey []byte) map[string]any {
	GinkgoHelper()
	return map[string]any{"externalAccountBinding": jwstest.ExternalAccountBinding(GinkgoTB(), hmacKey, id, a.base+"new-account", a.key)}
}

var _ = Describe("External account binding (RFC 8555 section 7.3.4)", Ordered, func() {
	var issuer *v1alpha1.AcmeIssuer
	BeforeAll(func(ctx SpecContext) {
		issuer = issuerLike(ctx, func(spec *v1alpha1.AcmeIssuerSpec) {
			spec.Account.ExternalAccountBinding.Required = true
			spec.Profiles = append(spec.Profiles, v1alpha1.Profile{Name: "other"})
		})
	})

	It("is required for new accounts if the directory says so", func(ctx SpecContext) {
		a := newAccountAt(issuer)
		Expect(a.get("directory").json()["meta"]).To(HaveKeyWithValue("externalAccountRequired", true))
		expectProblem(a.register(map[string]any{}), http.StatusForbidden, acme.ExternalAccountRequired)
		expectProblem(a.register(map[string]any{"externalAccountBinding": nil}), http.StatusForbidden, acme.ExternalAccountRequired)
		id, key := externalKey(ctx, issuer, nil)
		Expect(a.register(a.bound(id, key)).StatusCode).To(Equal(http.StatusCreated))
		r := a.register(map[string]any{})
		Expect(r.StatusCode).To(Equal(http.StatusOK), "an existing account is found without a binding (section 7.3.1)")
		Expect(a.register(map[string]any{"onlyReturnExisting": true}).StatusCode).To(Equal(http.StatusOK))
	})

	It("is stored in the account as sent, and names the key in kubectl", func(ctx SpecContext) {
		a := newAccountAt(issuer)
		id, key := externalKey(ctx, issuer, nil)
		payload := a.bound(id, key)
		r := a.register(payload)
		Expect(r.StatusCode).To(Equal(http.StatusCreated), "%s", r.body)
		sent := (&reply{body: jsonOf(payload)}).json()
		Expect(r.json()["externalAccountBinding"]).To(Equal(sent["externalAccountBinding"]))
		Expect(a.post(a.url, nil).json()["externalAccountBinding"]).To(Equal(sent["externalAccountBinding"]))
		account := &v1alpha1.AcmeAccount{}
		fetch(ctx, a.url, account)
		Expect(account.Status.ExternalAccountKeyID).To(Equal(id))
		a.issued("bound.test")
	})

	for _, algorithm := range []string{"HS256", "HS384", "HS512"} {
		It("is made with "+algorithm, func(ctx SpecContext) {
			a := newAccountAt(issuer)
			id, key := externalKey(ctx, issuer, nil)
			eab := jwstest.MAC(GinkgoTB(), key, jwstest.Header{"alg": algorithm, "kid": id, "url": a.base + "new-account"}, jwstest.JWK(GinkgoTB(), a.key))
			r := a.register(map[string]any{"externalAccountBinding": jsonRaw(eab)})
			Expect(r.StatusCode).To(Equal(http.StatusCreated), "%s", r.body)
		})
	}

	It("is refused if it violates the RFC, and the key stays unused", func(ctx SpecContext) {
		a := newAccountAt(issuer)
		id, key := externalKey(ctx, issuer, nil)
		url := a.base + "new-account"
		jwk := jwstest.JWK(GinkgoTB(), a.key)
		stranger := jwstest.JWK(GinkgoTB(), jwstest.NewKey(GinkgoTB(), "ES256"))
		mac := func(key []byte, header jwstest.Header, payload any) any {
			return jsonRaw(jwstest.MAC(GinkgoTB(), key, header, payload))
		}
		for what, c := range map[string]struct {
			binding any
			status  int
			kind    acme.ProblemType
		}{
			"another MAC key":  {mac(bytes.Repeat([]byte("x"), 64), jwstest.Header{"kid": id, "url": url}, jwk), 403, acme.Unauthorized},
			"an unknown id":    {mac(key, jwstest.Header{"kid": "nobody", "url": url}, jwk), 403, acme.Unauthorized},
			"a path for an id": {mac(key, jwstest.Header{"kid": "../" + id, "url": url}, jwk), 403, acme.Unauthorized},
			"another URL":      {mac(key, jwstest.Header{"kid": id, "url": a.base + "new-order"}, jwk), 400, acme.Malformed},
			"another key":      {mac(key, jwstest.Header{"kid": id, "url": url}, stranger), 400, acme.Malformed},
			"a nonce":          {mac(key, jwstest.Header{"kid": id, "url": url, "nonce": "AAAA"}, jwk), 400, acme.Malformed},
			"no id":            {mac(key, jwstest.Header{"url": url}, jwk), 400, acme.Malformed},
			"no URL":           {mac(key, jwstest.Header{"kid": id}, jwk), 400, acme.Malformed},
			"no key in it":     {mac(key, jwstest.Header{"kid": id, "url": url}, map[string]any{}), 400, acme.Malformed},
			"a signature":      {jsonRaw(jwstest.Sign(GinkgoTB(), a.key, jwstest.Header{"kid": id, "url": url}, jwk)), 400, acme.BadSignatureAlgorithm},
			"an unknown alg":   {mac(key, jwstest.Header{"alg": "HS1", "kid": id, "url": url}, jwk), 400, acme.BadSignatureAlgorithm},
			"no JWS":           {map[string]any{"hello": "world"}, 400, acme.Malformed},
		} {
			By(what)
			expectProblem(a.register(map[string]any{"externalAccountBinding": c.binding}), c.status, c.kind)
		}
		Expect(a.register(a.bound(id, key)).StatusCode).To(Equal(http.StatusCreated))
	})

	It("uses up its key unless the key is reusable, and respects the key's expiry", func(ctx SpecContext) {
		once, onceKey := externalKey(ctx, issuer, nil)
		many, manyKey := externalKey(ctx, issuer, map[string]string{"reusable": "true", "expires": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)})
		over, overKey := externalKey(ctx, issuer, map[string]string{"expires": time.Now().Add(-time.Second).UTC().Format(time.RFC3339)})
		for i := range 2 {
			a, b, c := newAccountAt(issuer), newAccountAt(issuer), newAccountAt(issuer)
			if r := a.register(a.bound(once, onceKey)); i == 0 {
				Expect(r.StatusCode).To(Equal(http.StatusCreated), "%s", r.body)
			} else {
				expectProblem(r, http.StatusForbidden, acme.Unauthorized)
			}
			Expect(b.register(b.bound(many, manyKey)).StatusCode).To(Equal(http.StatusCreated))
			expectProblem(c.register(c.bound(over, overKey)), http.StatusForbidden, acme.Unauthorized)
		}
	})

	It("is valid only for its own issuer", func(ctx SpecContext) {
		elsewhere := newAccountAt(issuerLike(ctx, func(*v1alpha1.AcmeIssuerSpec) {}))
		id, key := externalKey(ctx, issuer, nil)
		expectProblem(elsewhere.register(elsewhere.bound(id, key)), http.StatusForbidden, acme.Unauthorized)
		Expect(elsewhere.register(map[string]any{}).StatusCode).To(Equal(http.StatusCreated), "it is not required there")
	})

	It("limits the account's names at new orders, at pre-authorization and at issuance", func(ctx SpecContext) {
		a := newAccountAt(issuer)
		id, key := externalKey(ctx, issuer, map[string]string{"allowed-dns": "team-a.test, .team-b.test", "allowed-profiles": "other"})
		Expect(a.register(a.bound(id, key)).StatusCode).To(Equal(http.StatusCreated))
		r := a.post(a.base+"new-order", map[string]any{"identifiers": names("www.team-a.test", "team-b.test", "other.test")})
		expectProblem(r, http.StatusBadRequest, acme.RejectedIdentifier)
		Expect(r.json()["subproblems"]).To(ConsistOf(
			HaveKeyWithValue("identifier", HaveKeyWithValue("value", "team-b.test")), HaveKeyWithValue("identifier", HaveKeyWithValue("value", "other.test"))))
		expectProblem(a.newAuthz("dns", "other.test"), http.StatusForbidden, acme.RejectedIdentifier)
		expectProblem(a.post(a.base+"new-order", map[string]any{"identifiers": names("team-a.test"), "profile": "default"}), http.StatusBadRequest, acme.InvalidProfile)
		o, _, _ := a.issued("www.team-a.test", "x.team-b.test")
		Expect(o.document).To(HaveKeyWithValue("profile", "other"))

		// a compromised ACME server stores an order without a policy check. A proof does not help either, because the
		// controllers refuse the validation. The valid authorization here simulates a mistake of the controllers.
		fetched := &v1alpha1.AcmeOrder{}
		fetch(ctx, a.ready("team-a.test").url, fetched)
		forged := &v1alpha1.AcmeAuthorization{Spec: v1alpha1.AcmeAuthorizationSpec{
			IssuerRef: fetched.Spec.IssuerRef, AccountRef: fetched.Spec.AccountRef, Identifier: v1alpha1.Identifier{Type: acme.DNS, Value: "other.test"},
			Challenges: []v1alpha1.Challenge{{Type: acme.HTTP01, Token: "0123456789012345678901"}},
		}}
		forged.Namespace, forged.Name = issuer.Namespace, v1alpha1.NewObjectName(time.Now())
		Expect(kube.Create(ctx, forged)).To(Succeed())
		until := metav1.NewTime(time.Now().Add(time.Hour))
		forged.Status = v1alpha1.AcmeAuthorizationStatus{State: acme.StateValid, Expires: &until}
		config, err := running.Plane().ServiceAccountConfig(ctx, "acmeca-system", "acmeca-controller")
		Expect(err).NotTo(HaveOccurred())
		controllers, err := client.New(config, client.Options{Scheme: kube.Scheme()})
		Expect(err).NotTo(HaveOccurred())
		Expect(controllers.Status().Update(ctx, forged)).To(Succeed())
		order := &v1alpha1.AcmeOrder{Spec: v1alpha1.AcmeOrderSpec{
			IssuerRef: fetched.Spec.IssuerRef, AccountRef: fetched.Spec.AccountRef, Profile: "other",
			Identifiers: []v1alpha1.Identifier{forged.Spec.Identifier}, Authorizations: []string{forged.Name},
		}}
		order.Namespace, order.Name = issuer.Namespace, v1alpha1.NewObjectName(time.Now())
		Expect(kube.Create(ctx, order)).To(Succeed())
		Eventually(func() any { return a.post(a.base+"order/"+order.Name, nil).json()["status"] }, "10s").Should(Equal("ready"))
		request := map[string]any{"csr": csr(jwstest.NewKey(GinkgoTB(), "ES256"), "other.test")}
		finalize := a.base + "order/" + order.Name + "/finalize"
		expectProblem(a.post(finalize, request), http.StatusBadRequest, acme.RejectedIdentifier)
		// The ACME server refuses too, so the request is stored as a compromised one would store it.
		message, problem := jws.Parse(jwstest.Sign(GinkgoTB(), a.key, a.header(finalize), request))
		Expect(problem).To(BeNil())
		before := order.DeepCopy()
		order.Spec.Finalization = &v1alpha1.Finalization{Request: *stored.Request(message), Time: metav1.NewTime(time.Now().Truncate(time.Second))}
		Expect(kube.Patch(ctx, order, client.MergeFrom(before))).To(Succeed())
		Eventually(func() any { return a.post(a.base+"order/"+order.Name, nil).json()["status"] }, "10s").Should(Equal("invalid"))
		Expect(a.post(a.base+"order/"+order.Name, nil).json()["error"]).To(HaveKeyWithValue("type", acme.RejectedIdentifier.URN()))
	})

	It("with an invalid policy creates no account, and names the error", func(ctx SpecContext) {
		a := newAccountAt(issuer)
		id, key := externalKey(ctx, issuer, map[string]string{"allowed-ips": "10.0.0.1"})
		r := a.register(a.bound(id, key))
		expectProblem(r, http.StatusInternalServerError, acme.ServerInternal)
		Expect(r.json()["detail"]).To(ContainSubstring("allowed-ips"))
	})
})
