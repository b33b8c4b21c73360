package certmanager

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/internal/test/binaries"
	"github.com/acmeca/acmeca/test/internal/certificates"
	"github.com/acmeca/acmeca/test/internal/guide"
	"github.com/acmeca/acmeca/test/internal/named"
	"github.com/acmeca/acmeca/test/internal/suite"
)

const guideFile = "cert-manager.md"

// buildPlugin builds this tree's kubectl-acme where the shell's kubectl finds it.
func buildPlugin(ctx SpecContext) {
	GinkgoHelper()
	dir := GinkgoT().TempDir()
	shell.Run(ctx, "go build -o "+filepath.Join(dir, "kubectl-acme")+" ./cmd/kubectl-acme")
	shell.Environment = append(shell.Environment, "PATH="+dir+":"+kubectlPath())
}

// kubectlPath returns a PATH with the control plane's kubectl.
func kubectlPath() string {
	GinkgoHelper()
	programs, err := binaries.Find("kubectl")
	Expect(err).NotTo(HaveOccurred())
	return programs + ":" + os.Getenv("PATH")
}

// newShell returns a shell with the control plane's kubectl.
func newShell() *guide.Shell {
	GinkgoHelper()
	return &guide.Shell{Environment: []string{
		"KUBECONFIG=" + acmeca.Kubeconfig(),
		"PATH=" + kubectlPath(),
		"TSIG_SECRET=" + named.TSIGSecret,
	}}
}

// follow runs the commands of a section of the guide, or of one block.
func follow(ctx SpecContext, heading string, blocks ...int) string {
	GinkgoHelper()
	all := guide.Section(guideFile, heading)
	if len(blocks) == 0 {
		return shell.Run(ctx, guide.Commands(all))
	}
	output := ""
	for _, n := range blocks {
		output += shell.Run(ctx, guide.Commands(all[n:n+1]))
	}
	return output
}

var _ = Describe("The guide", Ordered, func() {
	It("makes a ClusterIssuer that trusts the ACME server", func(ctx SpecContext) {
		follow(ctx, "The issuer")
		issuer := get(ctx, "cert-manager.io/v1", "ClusterIssuer", "", "acmeca")
		// cert-manager registers once and keeps the account URL, because its host is the directory's.
		Expect(field(issuer, "status", "acme", "uri")).To(HavePrefix("https://" + serviceHost + "/acme/acct/"))
		Expect(accountsWith(ctx, "mailto:ops@corp.example")).To(HaveLen(1))
	}, SpecTimeout(2*time.Minute))

	It("creates one with the plugin, for any AcmeIssuer", func(ctx SpecContext) {
		buildPlugin(ctx)
		follow(ctx, "The issuer, by the plugin")
		// The CA of "default" signs the ACME server's certificate, also for clients of other issuers.
		makeAcmeIssuer(ctx, "other")
		shell.Run(ctx, "kubectl acme --namespace acmeca-system cert-manager-issuer other | kubectl apply -f - && kubectl wait --for=condition=Ready clusterissuer/acmeca-other --timeout=60s")
	}, SpecTimeout(2*time.Minute))

	It("gets certificates by http-01 for a Certificate and for an Ingress", func(ctx SpecContext) {
		shell.Run(ctx, "kubectl apply -f docs/guides/cert-manager/ingress.yaml") // in parallel with the first one
		roots := follow(ctx, "A certificate")
		Expect(roots).To(ContainSubstring("BEGIN CERTIFICATE"))
		chain := secretChain(ctx, "app-tls")
		certificates.Verify(chain, trustedBy(ctx, "default"), "app.corp.example")
		Expect(suite.OrderOf(ctx, cluster, chain[0]).Status.State).To(Equal(acme.StateValid))

		follow(ctx, "Ingress")
		certificates.Verify(secretChain(ctx, "shop-tls"), trustedBy(ctx, "default"), "shop.corp.example")
	}, SpecTimeout(3*time.Minute))

	It("gets a certificate for a Gateway", func(ctx SpecContext) {
		follow(ctx, "Gateway API")
		certificates.Verify(secretChain(ctx, "gw-tls"), trustedBy(ctx, "default"), "gw.corp.example")
	}, SpecTimeout(2*time.Minute))

	It("gets a wildcard by dns-01", func(ctx SpecContext) {
		follow(ctx, "dns-01", 0)
		// Only this value of the manifests differs in the test.
		shell.Run(ctx, fmt.Sprintf(`kubectl patch clusterissuer acmeca-dns --type=json -p '[{"op":"replace","path":"/spec/acme/solvers/0/dns01/rfc2136/nameserver","value":%q}]'`, zone.Address()))
		shell.Run(ctx, "kubectl wait --for=condition=Ready clusterissuer/acmeca-dns --timeout=60s")
		follow(ctx, "dns-01", 1)
		certificates.Verify(secretChain(ctx, "wildcard-tls"), trustedBy(ctx, "default"), "apps.corp.example", "*.apps.corp.example")
	}, SpecTimeout(2*time.Minute))

	It("binds a team's account by a key, which bounds its names", func(ctx SpecContext) {
		follow(ctx, "An external account key for each team", 0)
		serveInCluster(ctx, "teams")
		follow(ctx, "An external account key for each team", 1)
		certificates.Verify(secretChain(ctx, "web-tls"), trustedBy(ctx, "teams"), "web.team-a.corp.example")
		accounts := accountsWith(ctx, "mailto:team-a@corp.example")
		Expect(accounts).To(HaveLen(1))
		Expect(accounts[0].Status.ExternalAccountKeyID).To(Equal("team-a"))

		applyCertificate(ctx, certificate{name: "foreign", issuer: "acmeca", kind: "Issuer", dnsNames: []string{"foreign.corp.example"}})
		Eventually(func(g Gomega) {
			orders := certManagerOrders(ctx, "foreign")
			g.Expect(orders).NotTo(BeEmpty())
			g.Expect(field(&orders[0], "status", "state")).To(Equal("errored"))
			g.Expect(field(&orders[0], "status", "reason")).To(ContainSubstring("rejectedIdentifier"))
		}, "60s", "100ms").Should(Succeed())
		deleteCertificate(ctx, "foreign")
	}, SpecTimeout(2*time.Minute))

	It("asks for a profile", func(ctx SpecContext) {
		follow(ctx, "Profiles", 0)
		waitUntilObserved(ctx, "default")
		follow(ctx, "Profiles", 1)
		leaf := secretChain(ctx, "short-tls")[0]
		Expect(leaf.NotAfter).To(BeTemporally("~", time.Now().Add(143*time.Hour), 2*time.Hour)) // one hour of the lifetime is in the past
		Expect(suite.OrderOf(ctx, cluster, leaf).Spec.Profile).To(Equal("short"))
	}, SpecTimeout(2*time.Minute))

	It("renews a revoked certificate by ACME renewal information, and names the replaced one", func(ctx SpecContext) {
		before := secretChain(ctx, "app-tls")[0]
		Eventually(func(g Gomega) {
			app := get(ctx, "cert-manager.io/v1", "Certificate", team, "app")
			g.Expect(field(app, "status", "acme", "ari", "suggestedWindow", "start")).NotTo(BeEmpty())
			g.Expect(field(app, "status", "acme", "ari", "lastError")).To(BeEmpty())
		}, "60s", "100ms").Should(Succeed())
		follow(ctx, "Renewal")
		// cert-manager waits some hours before it asks again. This skips the wait.
		shell.Run(ctx, `kubectl -n team-a patch certificate app --subresource=status --type=merge -p '{"status":{"acme":{"ari":{"nextCheck":"2020-01-01T00:00:00Z"}}}}'`)
		var after *x509.Certificate
		Eventually(func(g Gomega) {
			after = secretChain(ctx, "app-tls")[0]
			g.Expect(after.SerialNumber).NotTo(Equal(before.SerialNumber))
		}, "90s", "200ms").Should(Succeed())
		Expect(suite.OrderOf(ctx, cluster, after).Spec.Replaces).To(Equal(acme.NewCertID(before.AuthorityKeyId, before.SerialNumber).String()))
	}, SpecTimeout(3*time.Minute))

	It("shows how to troubleshoot", func(ctx SpecContext) {
		output := follow(ctx, "Troubleshooting")
		Expect(output).To(ContainSubstring("app.corp.example"))
		Expect(output).To(ContainSubstring("Kind:         AcmeOrder"))
	}, SpecTimeout(time.Minute))

	It("has a spec for each command", func() {
		followed := map[string]bool{}
		for _, heading := range []string{
			"The issuer", "The issuer, by the plugin", "A certificate", "Ingress", "Gateway API", "dns-01", "An external account key for each team", "Profiles", "Renewal", "Troubleshooting",
		} {
			followed[heading] = true
		}
		for _, heading := range guide.Headings(guideFile) {
			Expect(followed).To(HaveKey(heading), "commands that no spec runs")
		}
		files, err := filepath.Glob("../../docs/guides/cert-manager/*")
		Expect(err).NotTo(HaveOccurred())
		for _, file := range files {
			Expect(guide.Text(guideFile) + guide.Text(servicesGuide)).To(ContainSubstring(filepath.Base(file)))
		}
	})
})
