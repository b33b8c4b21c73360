package kubectl

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"net"
	"regexp"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/crypto/acme"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/local"
)

// failure causes a failure, and returns the namespace and the name to ask about.
type failure func(ctx context.Context) (namespace, name string)

// failedChallenge starts a validation at a new issuer that fails.
func failedChallenge(ctx context.Context, name, content string, change func(*v1alpha1.AcmeIssuerSpec)) (namespace, ordered string) {
	GinkgoHelper()
	issuer := newIssuer(ctx, change)
	c := registered(ctx, issuer)
	o := order(ctx, c, name)
	answer(ctx, c, o, content)
	return issuer.Namespace, nameOf(o.URI)
}

var _ = Describe("kubectl acme why", func() {
	DescribeTable("names the cause", func(ctx SpecContext, fail failure, cause, advice string) {
		namespace, name := fail(ctx)
		var said string
		Eventually(ctx, func() string { said = plugin(ctx, "-n", namespace, "why", name); return said }).
			WithTimeout(patience).WithPolling(200 * time.Millisecond).Should(And(ContainSubstring(cause), ContainSubstring(advice)))
		Expect(said).To(MatchRegexp(`^[^\n]+\.\n$`), "one paragraph")
		AddReportEntry("why", said, ReportEntryVisibilityFailureOrVerbose)
	},
		Entry("of a refused connection", SpecTimeout(2*patience), failure(func(ctx context.Context) (string, string) {
			return failedChallenge(ctx, "closed.test", "", func(spec *v1alpha1.AcmeIssuerSpec) { spec.Validation.HTTPPort = closedPort() })
		}), "connection refused", "Nothing usable answers at 127.0.0.1:"),

		Entry("of wrong content", SpecTimeout(2*patience), failure(func(ctx context.Context) (string, string) {
			return failedChallenge(ctx, "other.test", "what another client serves", func(*v1alpha1.AcmeIssuerSpec) {})
		}), "(incorrectResponse)", "Another server than the client answers at 127.0.0.1:"),

		Entry("of a name that doesn't exist", SpecTimeout(2*patience), failure(func(ctx context.Context) (string, string) {
			return failedChallenge(ctx, "nowhere.example", "", func(*v1alpha1.AcmeIssuerSpec) {})
		}), "NXDOMAIN", "Create the A or AAAA record of nowhere.example"),

		Entry("of CAA records", SpecTimeout(2*patience), failure(func(ctx context.Context) (string, string) {
			resolver := serveNames("guarded.test. 60 IN A 127.0.0.1", `guarded.test. 60 IN CAA 0 issue "another-ca.test"`)
			return failedChallenge(ctx, "guarded.test", "", func(spec *v1alpha1.AcmeIssuerSpec) {
				spec.Validation.Resolvers = []string{resolver}
				spec.Validation.CAA, spec.Validation.CAAIdentities = v1alpha1.CAAEnforce, []string{"this-ca.test"}
			})
		}), "forbid issuance: no record permits this CA", `issue "this-ca.test"`),

		Entry("of a forbidden address", SpecTimeout(2*patience), failure(func(ctx context.Context) (string, string) {
			resolver := serveNames("metadata.test. 60 IN A 169.254.169.254")
			return failedChallenge(ctx, "metadata.test", "", func(spec *v1alpha1.AcmeIssuerSpec) { spec.Validation.Resolvers = []string{resolver} })
		}), "169.254.169.254", "spec.validation.allowedCIDRs"),

		Entry("of a name that the policy denies, which has no order", SpecTimeout(2*patience), failure(func(ctx context.Context) (string, string) {
			issuer := newIssuer(ctx, func(spec *v1alpha1.AcmeIssuerSpec) { spec.Policy.DNS.Allow = []string{"corp.test"} })
			_, err := registered(ctx, issuer).AuthorizeOrder(ctx, acme.DomainIDs("shop.elsewhere.test"))
			Expect(err).To(MatchError(ContainSubstring("rejectedIdentifier")))
			return issuer.Namespace, "shop.elsewhere.test"
		}), "issuer ca refuses it", "spec.policy.dns.allow"),

		Entry("of a CA whose Secret is missing", SpecTimeout(2*patience), failure(func(ctx context.Context) (string, string) {
			issuer := &v1alpha1.AcmeIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: newNamespace(ctx), Name: "brought"}}
			issuer.Spec.CA.SecretRef = &v1alpha1.ObjectRef{Name: "my-ca"}
			Expect(kube.Create(ctx, issuer)).To(Succeed())
			return issuer.Namespace, "brought"
		}), `"my-ca"`, "Create or correct that Secret"),

		Entry("of an issuer that is suspended", SpecTimeout(2*patience), failure(func(ctx context.Context) (string, string) {
			issuer := newIssuer(ctx, func(*v1alpha1.AcmeIssuerSpec) {})
			o := order(ctx, registered(ctx, issuer), "waiting.test")
			run(ctx, "kubectl", "patch", "acmeissuer", "ca", "-n", issuer.Namespace, "--type", "merge", "-p", `{"spec":{"suspend":true}}`)
			return issuer.Namespace, nameOf(o.URI)
		}), "it waits for its issuer ca, which is suspended", `"suspend":false`),

		Entry("of an external account key that was used", SpecTimeout(2*patience), failure(func(ctx context.Context) (string, string) {
			issuer := newIssuer(ctx, func(spec *v1alpha1.AcmeIssuerSpec) { spec.Account.ExternalAccountBinding.Required = true })
			binding := externalAccount(ctx, issuer)
			register := func() error {
				_, err := newClient(issuer).Register(ctx, &acme.Account{ExternalAccountBinding: binding}, acme.AcceptTOS)
				return err
			}
			Eventually(ctx, register).WithTimeout(patience).Should(Succeed())
			Expect(register()).To(MatchError(ContainSubstring("external account binding is not accepted")))
			return issuer.Namespace, "issuer/ca"
		}), "external account binding is not accepted", "kubectl acme eab create"),

		Entry("of an order that expired", SpecTimeout(2*patience), failure(func(ctx context.Context) (string, string) {
			name := nameOf(order(ctx, registered(ctx, defaultIssuer(ctx)), "late.test").URI)
			patchStatus(ctx, name, `{"status":{"expires":"2020-01-01T00:00:00Z"}}`)
			return local.Namespace, name
		}), "was not finished before it expired", "spec.lifetimes.order"),

		Entry("of an account that a person ended", SpecTimeout(2*patience), failure(func(ctx context.Context) (string, string) {
			name := nameOf(order(ctx, registered(ctx, defaultIssuer(ctx)), "ended.test").URI)
			plugin(ctx, "deactivate", "account/"+get[v1alpha1.AcmeOrder](ctx, name).Spec.AccountRef.Name, "--yes")
			return local.Namespace, name
		}), "the account is revoked", "A person deactivated the account"),

		Entry("of a rate limit", SpecTimeout(2*patience), failure(func(ctx context.Context) (string, string) {
			issuer := newIssuer(ctx, func(spec *v1alpha1.AcmeIssuerSpec) { spec.RateLimits.NewOrders = &v1alpha1.RateLimit{Count: 1} })
			c := registered(ctx, issuer)
			o := order(ctx, c, "first.test")
			_, err := c.AuthorizeOrder(ctx, acme.DomainIDs("second.test"))
			Expect(err).To(MatchError(ContainSubstring("rateLimited")))
			first := &v1alpha1.AcmeOrder{}
			Expect(kube.Get(ctx, client.ObjectKey{Namespace: issuer.Namespace, Name: nameOf(o.URI)}, first)).To(Succeed())
			return issuer.Namespace, "account/" + first.Spec.AccountRef.Name
		}), "it has made 1 order in 1h0m0s", "spec.rateLimits"),

		Entry("of a weak key in the CSR", SpecTimeout(2*patience), failure(func(ctx context.Context) (string, string) {
			c := registered(ctx, defaultIssuer(ctx))
			o := order(ctx, c, "weak.test")
			answer(ctx, c, o, "")
			ready, err := c.WaitOrder(ctx, o.URI)
			Expect(err).NotTo(HaveOccurred())
			csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"weak.test"}}, weakKey())
			Expect(err).NotTo(HaveOccurred())
			_, _, err = c.CreateOrderCert(ctx, ready.FinalizeURL, csr, true)
			Expect(err).To(MatchError(ContainSubstring("badCSR")))
			return local.Namespace, nameOf(o.URI)
		}), "the client has not finalized yet", "A refused CSR (badCSR)"),
	)

	It("explains authorizations, serial numbers and names of valid certificates", func(ctx SpecContext) {
		name, chain := issue(ctx, registered(ctx, defaultIssuer(ctx)), "well.test")
		serial := get[v1alpha1.AcmeOrder](ctx, name).Status.Serial
		for _, what := range []string{name, "order/" + name, "well.test", serial} {
			Expect(plugin(ctx, "why", what)).To(And(ContainSubstring("Order "+name+" for well.test is valid"), ContainSubstring(serial)))
		}
		authorization := get[v1alpha1.AcmeOrder](ctx, name).Spec.Authorizations[0]
		Expect(plugin(ctx, "why", authorization)).To(ContainSubstring("control was proved by http-01"))
		Expect(plugin(ctx, "why", "default")).To(ContainSubstring("Issuer default is ready"))
		Expect(plugin(ctx, "why", "well.test", "-o", "json")).To(And(ContainSubstring(`"ok": true`), ContainSubstring(`"kind": "Order"`)))
		Expect(chain[0].DNSNames).To(ConsistOf("well.test"))
		Expect(refused(ctx, "why", "nobody")).To(ContainSubstring(`has no order "nobody"`))
		Expect(refused(ctx, "why", "order/nobody")).To(ContainSubstring(`no order "nobody"`))
	}, SpecTimeout(2*patience))
})

// closedPort returns a port without a listener.
func closedPort() int32 {
	GinkgoHelper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	defer listener.Close()
	return int32(listener.Addr().(*net.TCPAddr).Port)
}

func weakKey() *rsa.PrivateKey {
	GinkgoHelper()
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	Expect(err).NotTo(HaveOccurred())
	return key
}

// shown matches the output of `eab create`.
var shown = regexp.MustCompile(`key id: +(\S+)\n +HMAC key: +(\S+)\n`)

// externalAccount creates an external account key as a person does, and reads the printed values.
func externalAccount(ctx context.Context, issuer *v1alpha1.AcmeIssuer, flags ...string) *acme.ExternalAccountBinding {
	GinkgoHelper()
	said := plugin(ctx, append([]string{"eab", "create", issuer.Name, "-n", issuer.Namespace}, flags...)...)
	found := shown.FindStringSubmatch(said)
	Expect(found).To(HaveLen(3), said)
	key, err := base64.RawURLEncoding.DecodeString(found[2])
	Expect(err).NotTo(HaveOccurred())
	return &acme.ExternalAccountBinding{KID: found[1], Key: key}
}
