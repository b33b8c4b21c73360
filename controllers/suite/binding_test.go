package suite

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
)

// hmacKey is not base64url.
var hmacKey = []byte("!123456789abcdef0123456789abcdef")

// externalKey creates the Secret of an external account key. Fields replace the defaults.
func (o *operator) externalKey(ctx context.Context, id string, fields map[string]string) *corev1.Secret {
	GinkgoHelper()
	secret := &corev1.Secret{Type: v1alpha1.ExternalAccountKeyType, Data: map[string][]byte{v1alpha1.ExternalAccountKeyField: hmacKey}}
	secret.Namespace, secret.Name = o.namespace, "ca-eab-"+id
	for name, value := range fields {
		secret.Data[name] = []byte(value)
	}
	Expect(admin.Create(ctx, secret)).To(Succeed())
	return secret
}

// bound registers with a binding.
func (o *operator) bound(ctx context.Context, id string, key []byte) *acmeClient {
	GinkgoHelper()
	c := &acmeClient{operator: o, key: newSigner()}
	c.create(ctx, map[string]any{"externalAccountBinding": jwstest.ExternalAccountBinding(GinkgoTB(), key, id, baseURL+"/"+acme.NewAccountPath, c.key)})
	return c
}

var _ = Describe("An external account key", func() {
	const refused = "the external account binding is not accepted"
	var o *operator
	BeforeEach(func(ctx SpecContext) {
		o = newOperator(ctx, func(spec *v1alpha1.AcmeIssuerSpec) { spec.Account.ExternalAccountBinding.Required = true })
	})

	It("binds one account, and no other", func(ctx SpecContext) {
		secret := o.externalKey(ctx, "team-a", nil)
		first := o.bound(ctx, "team-a", hmacKey)
		first.expectState(ctx, acme.StateValid)
		Expect(first.account.Status.ExternalAccountKeyID).To(Equal("team-a"))
		Expect(fresh(ctx, secret).Annotations).To(HaveKeyWithValue(v1alpha1.BoundAccountAnnotation, first.account.Name))
		o.bound(ctx, "team-a", hmacKey).expectRefused(ctx, refused)
	})

	It("may be held as raw bytes, or as base64url as clients have it", func(ctx SpecContext) {
		o.externalKey(ctx, "encoded", map[string]string{v1alpha1.ExternalAccountKeyField: base64.RawURLEncoding.EncodeToString(hmacKey) + "\n"})
		o.bound(ctx, "encoded", hmacKey).expectState(ctx, acme.StateValid)
	})

	It("binds one of two accounts that register at once", func(ctx SpecContext) {
		o.externalKey(ctx, "team-a", nil)
		clients := []*acmeClient{o.bound(ctx, "team-a", hmacKey), o.bound(ctx, "team-a", hmacKey)}
		Eventually(ctx, func() (valid int) {
			var accounts v1alpha1.AcmeAccountList
			Expect(admin.List(ctx, &accounts, client.InNamespace(o.namespace))).To(Succeed())
			return len(slices.DeleteFunc(accounts.Items, func(a v1alpha1.AcmeAccount) bool { return a.Status.State == acme.StateInvalid }))
		}).WithTimeout(patience).Should(Equal(1))
		i := slices.IndexFunc(clients, func(c *acmeClient) bool {
			return admin.Get(ctx, client.ObjectKeyFromObject(c.account), c.account) == nil && c.account.Status.State != acme.StateInvalid // a refused account is deleted after it is invalid
		})
		clients[i].expectState(ctx, acme.StateValid)
		clients[1-i].expectRefused(ctx, refused)
	})

	It("binds its account also after the controller died in between", func(ctx SpecContext) {
		secret := o.externalKey(ctx, "team-a", nil)
		o.stop()
		c := o.bound(ctx, "team-a", hmacKey)
		secret.Annotations = map[string]string{v1alpha1.BoundAccountAnnotation: c.account.Name}
		Expect(admin.Update(ctx, secret)).To(Succeed())
		o.start()
		c.expectState(ctx, acme.StateValid)
	})

	It("is accepted until it expires", func(ctx SpecContext) {
		o.externalKey(ctx, "good", map[string]string{v1alpha1.ExternalAccountExpiresField: o.clock.Now().Add(time.Second).Format(time.RFC3339)})
		o.bound(ctx, "good", hmacKey).expectState(ctx, acme.StateValid)
		o.externalKey(ctx, "over", map[string]string{v1alpha1.ExternalAccountExpiresField: o.clock.Now().Format(time.RFC3339)})
		o.bound(ctx, "over", hmacKey).expectRefused(ctx, refused)
		o.externalKey(ctx, "garbled", map[string]string{v1alpha1.ExternalAccountExpiresField: "tomorrow"})
		o.bound(ctx, "garbled", hmacKey).expectRefused(ctx, refused)
	})

	DescribeTable("binds nothing", func(ctx SpecContext, id string, secret func(*corev1.Secret), key []byte) {
		made := &corev1.Secret{Type: v1alpha1.ExternalAccountKeyType, Data: map[string][]byte{v1alpha1.ExternalAccountKeyField: hmacKey}}
		made.Namespace, made.Name = o.namespace, "ca-eab-team-a"
		secret(made)
		Expect(admin.Create(ctx, made)).To(Succeed())
		o.bound(ctx, id, key).expectRefused(ctx, refused)
		Expect(fresh(ctx, made).Annotations).NotTo(HaveKey(v1alpha1.BoundAccountAnnotation))
	},
		Entry("under another id", "team-b", func(*corev1.Secret) {}, hmacKey),
		Entry("with another key", "team-a", func(*corev1.Secret) {}, []byte(strings.Repeat("x", 32))),
		Entry("under an id that can't be a Secret's name", "Team_A", func(*corev1.Secret) {}, hmacKey),
		Entry("under an id that is a path", "../team-a", func(*corev1.Secret) {}, hmacKey),
		Entry("in a Secret of another type", "team-a", func(s *corev1.Secret) { s.Type = corev1.SecretTypeOpaque }, hmacKey),
		Entry("that is too short", "team-a", func(s *corev1.Secret) { s.Data[v1alpha1.ExternalAccountKeyField] = []byte("short") }, []byte("short")),
		Entry("that is missing", "team-a", func(s *corev1.Secret) { s.Data = nil }, hmacKey),
		Entry("of another issuer", "team-a", func(s *corev1.Secret) { s.Name = "other-eab-team-a" }, hmacKey),
		Entry("of an issuer whose name ends as the id begins", "x-eab-team-a", func(s *corev1.Secret) { s.Name = "ca-eab-x-eab-team-a" }, hmacKey),
		Entry("of an issuer whose name ends as the id begins, overlapping", "eab-team-a", func(s *corev1.Secret) { s.Name = "ca-eab-eab-team-a" }, hmacKey),
	)

	DescribeTable("binds only the account and the URL that it was used for", func(ctx SpecContext, binding func(*acmeClient) any, words string) {
		o.externalKey(ctx, "team-a", nil)
		c := &acmeClient{operator: o, key: newSigner()}
		c.create(ctx, map[string]any{"externalAccountBinding": binding(c)})
		c.expectRefused(ctx, words)
	},
		Entry("another account key", func(*acmeClient) any {
			return jwstest.ExternalAccountBinding(GinkgoTB(), hmacKey, "team-a", baseURL+"/"+acme.NewAccountPath, newSigner())
		}, "was made for another account key"),
		Entry("another URL", func(c *acmeClient) any {
			return jwstest.ExternalAccountBinding(GinkgoTB(), hmacKey, "team-a", baseURL+"/"+acme.NewOrderPath, c.key)
		}, "was made for another URL"),
		Entry("nothing", func(*acmeClient) any { return map[string]any{} }, "the external account binding"),
	)

	It("with an unreadable policy binds nothing, and the problem says so", func(ctx SpecContext) {
		o.externalKey(ctx, "garbled", map[string]string{v1alpha1.ExternalAccountIPsField: strings.Repeat("x", 3000)})
		o.bound(ctx, "garbled", hmacKey).expectRefused(ctx, "has a policy that can't be read")
	})

	It("is used also if it isn't required", func(ctx SpecContext) {
		o.edit(ctx, func(spec *v1alpha1.AcmeIssuerSpec) { spec.Account.ExternalAccountBinding.Required = false })
		o.externalKey(ctx, "team-a", nil)
		c := o.bound(ctx, "team-a", hmacKey)
		c.expectState(ctx, acme.StateValid)
		Expect(c.account.Status.ExternalAccountKeyID).To(Equal("team-a"))
		o.bound(ctx, "unknown", hmacKey).expectRefused(ctx, refused)
	})
})
