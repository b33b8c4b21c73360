package kubectl

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"os"
	"path"
	"regexp"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/crypto/acme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/test/internal/certificates"
)

var _ = Describe("A grant of names", Ordered, func() {
	var issuer *v1alpha1.AcmeIssuer
	var team *acme.Client
	BeforeAll(func(ctx SpecContext) {
		issuer = newIssuer(ctx, func(*v1alpha1.AcmeIssuerSpec) {})
		team = registered(ctx, issuer)
		account, err := team.GetReg(ctx, "")
		Expect(err).NotTo(HaveOccurred())
		before := issuer.DeepCopy()
		issuer.Spec.Grants = []v1alpha1.Grant{{Name: "team-a", Accounts: []string{path.Base(account.URI)}, DNS: []string{".team-a.svc"}},
			{Name: "team-a2", Accounts: []string{path.Base(account.URI)}, DNS: []string{"other.test"}}}
		Expect(kube.Patch(ctx, issuer, client.MergeFrom(before))).To(Succeed())
	})

	// granted returns the name of an order for granted names, which needs no challenge.
	granted := func(ctx context.Context, names ...string) string {
		GinkgoHelper()
		var order *acme.Order
		Eventually(ctx, func(g Gomega) { // the ACME server may not know the grant yet
			var err error
			order, err = team.AuthorizeOrder(ctx, acme.DomainIDs(names...))
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(order.Status).To(Equal(acme.StatusReady))
		}).WithTimeout(patience).Should(Succeed())
		csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, certificates.NewKey())
		Expect(err).NotTo(HaveOccurred())
		_, _, err = team.CreateOrderCert(ctx, order.FinalizeURL, csr, true)
		Expect(err).NotTo(HaveOccurred())
		return path.Base(order.URI)
	}

	It("is shown with its orders, explained after its end, and revoked by its name", func(ctx SpecContext) {
		in := func(args ...string) []string { return append(args, "-n", issuer.Namespace) }
		one, two, other := granted(ctx, "a.team-a.svc"), granted(ctx, "b.team-a.svc", "other.test"), granted(ctx, "other.test")
		Expect(plugin(ctx, in("order", two)...)).To(MatchRegexp(`(?s)Authorization \S+ for b.team-a.svc valid\n\S* +\S* *granted by +team-a\n.*for other.test valid\n.*granted by +team-a2\n`))
		Expect(run(ctx, "kubectl", in("get", "acmeorders", two, "-o", "wide")...)).To(ContainSubstring(`["team-a","team-a2"]`))
		ready, err := team.AuthorizeOrder(ctx, acme.DomainIDs("c.team-a.svc"))
		Expect(err).NotTo(HaveOccurred())

		before := issuer.DeepCopy()
		issuer.Spec.Grants = issuer.Spec.Grants[1:]
		Expect(kube.Patch(ctx, issuer, client.MergeFrom(before))).To(Succeed())
		Eventually(ctx, func() string { return run(ctx, "kubectl", in("describe", "acmeissuer", issuer.Name)...) }).WithTimeout(patience).
			Should(And(ContainSubstring("GrantTakenBack"), ContainSubstring("kubectl acme revoke --granted-by team-a "+issuer.Name)))
		Eventually(ctx, func() string { return plugin(ctx, in("why", "order/"+path.Base(ready.URI))...) }).WithTimeout(patience).
			Should(And(ContainSubstring(`the grant "team-a" does not authorize "c.team-a.svc"`), ContainSubstring("The grant was taken back")))

		asked := refused(ctx, in("revoke", "--granted-by", "team-a", issuer.Name)...)
		Expect(asked).To(And(ContainSubstring(one), ContainSubstring(two), ContainSubstring("Revoke these 2 certificates by the grant team-a")))
		plugin(ctx, in("revoke", "--granted-by", "team-a", issuer.Name, "--reason", "cessationOfOperation", "--yes")...)
		for name, revoked := range map[string]bool{one: true, two: true, other: false} {
			order := &v1alpha1.AcmeOrder{}
			Expect(kube.Get(ctx, client.ObjectKey{Namespace: issuer.Namespace, Name: name}, order)).To(Succeed())
			Expect(order.Status.RevokedAt != nil).To(Equal(revoked), name)
		}
		Expect(refused(ctx, in("revoke", "--granted-by", "team-a", issuer.Name, "--yes")...)).To(ContainSubstring("no valid certificate by the grant team-a"))
		Expect(refused(ctx, in("revoke", "--granted-by", "team-a")...)).To(ContainSubstring("--granted-by takes one argument"))
	}, SpecTimeout(4*patience))

	It("is given to a key by the two commands that make run prints", func(ctx SpecContext) {
		run(ctx, "kubectl", "config", "set-context", "--current", "--namespace", "default") // as in the kubeconfig of make run
		DeferCleanup(func(ctx SpecContext) {
			run(ctx, "kubectl", "config", "set-context", "--current", "--namespace", local.Namespace)
		})
		printed, err := os.ReadFile("../../hack/run/main.go")
		Expect(err).NotTo(HaveOccurred())
		sample, err := os.ReadFile("../../config/samples/grant/default.yaml")
		Expect(err).NotTo(HaveOccurred())
		var output string
		commands := regexp.MustCompile(`(?m)^#   kubectl (.*)$`).FindAllStringSubmatch(string(sample), -1)
		Expect(commands).To(HaveLen(2))
		for _, command := range commands {
			Expect(string(printed)).To(ContainSubstring("  kubectl " + command[1] + "\n"))
			output = run(ctx, "kubectl", strings.Fields(strings.ReplaceAll(command[1], " config/", " ../../config/"))...)
		}
		encoded := regexp.MustCompile(`secret: (\S+)`).FindStringSubmatch(output)
		Expect(encoded).To(HaveLen(2), output)
		key, err := base64.RawURLEncoding.DecodeString(strings.Trim(encoded[1], `"`))
		Expect(err).NotTo(HaveOccurred())
		client := newClient(defaultIssuer(ctx))
		_, err = client.Register(ctx, &acme.Account{ExternalAccountBinding: &acme.ExternalAccountBinding{KID: "demo", Key: key}}, acme.AcceptTOS)
		Expect(err).NotTo(HaveOccurred())
		Eventually(ctx, func(g Gomega) {
			order, err := client.AuthorizeOrder(ctx, acme.DomainIDs("a.granted.test"))
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(order.Status).To(Equal(acme.StatusReady))
		}).WithTimeout(patience).Should(Succeed())
	}, SpecTimeout(2*patience))
})
