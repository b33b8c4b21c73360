package cluster

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/internal/test/cluster"
	"github.com/acmeca/acmeca/internal/test/project"
	"github.com/acmeca/acmeca/test/internal/certificates"
	"github.com/acmeca/acmeca/test/internal/guide"
)

const (
	certManagerGuide = "cert-manager.md"
	servicesGuide    = "cert-manager-services.md"
	team             = "team-a"
	certManager      = "cert-manager"
)

// The specs follow the guides to cert-manager, with cert-manager's own chart, whose Pods run the released code.
var _ = Describe("cert-manager in Pods", Ordered, func() {
	var shell *guide.Shell
	var ofService *x509.Certificate
	serviceNames := []string{"api.team-a.svc", "api.team-a.svc.cluster.local", "*.db.team-a.svc.cluster.local"}
	follow := func(ctx context.Context, file, heading string, blocks ...int) {
		GinkgoHelper()
		all := guide.Section(file, heading)
		if len(blocks) == 0 {
			shell.Run(ctx, guide.Commands(all))
		}
		for _, n := range blocks {
			shell.Run(ctx, guide.Commands(all[n:n+1]))
		}
	}

	BeforeAll(func(ctx SpecContext) {
		shell = guideShell(ctx)
		helm(ctx, append([]string{"install"}, cluster.InstallArgs("--create-namespace")...)...)
		DeferCleanup(func(ctx SpecContext) {
			kubectl(ctx, "delete", "namespace", team, "--timeout="+patience.String())          // while cert-manager runs
			_, _ = c.Helm(ctx, "uninstall", certManager, "--namespace", certManager, "--wait") // a failed spec may have installed nothing
			kubectl(ctx, "delete", "namespace", "ingress", certManager, "--ignore-not-found", "--timeout="+patience.String())
			uninstall(ctx)
		}, NodeTimeout(specTime))
		Expect(c.CreateIssuer(ctx)).To(Succeed())
		rollout(ctx)
		router, err := os.ReadFile("testdata/ingress.yaml")
		Expect(err).NotTo(HaveOccurred())
		apply(ctx, string(router))
		apply(ctx, "{apiVersion: v1, kind: Namespace, metadata: {name: "+team+"}}")
		resolveToRouter(ctx)
		gateways, err := project.ModuleDir(ctx, "certmanager", "sigs.k8s.io/gateway-api")
		Expect(err).NotTo(HaveOccurred())
		for _, kind := range []string{"gatewayclasses", "gateways", "httproutes"} {
			kubectl(ctx, "apply", "--server-side", "-f", filepath.Join(gateways, "config/crd/standard/gateway.networking.k8s.io_"+kind+".yaml"))
		}
	}, NodeTimeout(2*specTime))

	It("is installed by its chart, and its webhook answers", func(ctx SpecContext) {
		for _, program := range []string{"controller", "webhook", "cainjector", "acmesolver", "startupapicheck"} {
			image := "node.test/cert-manager/cert-manager-" + program + ":v0.0.0" // the version of the chart in the module
			archive, err := c.MakeImage(ctx, image, "65532:65532", "cert-manager", "cert-manager", program)
			Expect(err).NotTo(HaveOccurred())
			Expect(c.Load(ctx, archive)).To(Succeed())
			Expect(os.Remove(archive)).To(Succeed())
		}
		start := time.Now()
		helm(ctx, "install", "cert-manager", chartOf(ctx, "certmanager", "github.com/cert-manager/cert-manager", "cert-manager"),
			"--namespace", certManager, "--create-namespace", "--wait", "--timeout="+patience.String(),
			"--set", "imageRegistry=node.test", "--set", "imageNamespace=cert-manager", "--set", "crds.enabled=true",
			"--set", "config.enableGatewayAPI=true", "--set", "featureGates=ACMEUseARI=true")
		AddReportEntry("helm install of cert-manager", since(start))
		Expect(c.Apply(ctx, []byte(`
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: nameless, namespace: team-a}
spec: {secretName: nameless-tls, issuerRef: {name: none}}
`))).To(MatchError(ContainSubstring("webhook.cert-manager.io")))
	}, SpecTimeout(specTime))

	It("gets certificates for a Certificate and an Ingress, by solver Pods", func(ctx SpecContext) {
		start := time.Now()
		follow(ctx, certManagerGuide, "The issuer")
		follow(ctx, certManagerGuide, "The issuer, by the plugin")
		AddReportEntry("both ClusterIssuers Ready", since(start))
		start = time.Now()
		shell.Run(ctx, "kubectl apply -f docs/guides/cert-manager/ingress.yaml") // at the same time
		follow(ctx, certManagerGuide, "A certificate")
		follow(ctx, certManagerGuide, "Ingress")
		AddReportEntry("two Certificates Ready", since(start))
		requireCertificate(ctx, "app-tls", "default", "app.corp.example")
		requireCertificate(ctx, "shop-tls", "default", "shop.corp.example")
		Expect(strings.Fields(kubectl(ctx, "get", "events", "--namespace", team, "--output=name",
			"--field-selector=reason=Started,involvedObject.kind=Pod"))).To(HaveLen(2), "containers of solvers")
	}, SpecTimeout(specTime))

	It("gets a certificate for a Gateway", func(ctx SpecContext) {
		follow(ctx, certManagerGuide, "Gateway API")
		requireCertificate(ctx, "gw-tls", "default", "gw.corp.example")
	}, SpecTimeout(specTime))

	It("binds the account of an Issuer by a team's key", func(ctx SpecContext) {
		follow(ctx, certManagerGuide, "An external account key for each team")
		requireCertificate(ctx, "web-tls", "teams", "web.team-a.corp.example")
	}, SpecTimeout(specTime))

	It("asks for a profile", func(ctx SpecContext) {
		follow(ctx, certManagerGuide, "Profiles")
		lifetime := requireCertificate(ctx, "short-tls", "default", "short.corp.example")
		Expect(lifetime.NotAfter.Sub(lifetime.NotBefore)).To(BeNumerically("~", 144*time.Hour, 2*time.Hour))
	}, SpecTimeout(specTime))

	It("gets a granted certificate for a Service, without a solver", func(ctx SpecContext) {
		follow(ctx, servicesGuide, "The platform team: an issuer and a grant")
		kubectl(ctx, "patch", "--namespace", namespace, "acmeissuer", "services", "--type=merge", // the shortest lifetime, for a later spec
			"--patch", `{"spec":{"profiles":[{"name":"default","lifetime":"1m"}]}}`)
		follow(ctx, servicesGuide, "A key for the team")
		follow(ctx, servicesGuide, "The team: an Issuer without solvers")
		ofService = requireCertificate(ctx, "api-tls", "services", serviceNames...)
		Expect(ofService.NotAfter.Sub(ofService.NotBefore)).To(BeNumerically("<", time.Hour))
		Expect(strings.Fields(kubectl(ctx, "get", "challenges.acme.cert-manager.io", "--namespace", team,
			"--output=jsonpath={.items[*].spec.issuerRef.name}"))).NotTo(ContainElement("services"))
	}, SpecTimeout(specTime))

	It("renews a revoked certificate by ACME renewal information", func(ctx SpecContext) {
		before := requireCertificate(ctx, "app-tls", "default", "app.corp.example")
		kubectl(ctx, "wait", "--namespace", team, "certificate/app", "--for=jsonpath={.status.acme.ari.suggestedWindow.start}", "--timeout="+patience.String())
		follow(ctx, certManagerGuide, "Renewal")
		renewed(ctx, "app", before)
	}, SpecTimeout(specTime))

	It("renews the certificate for a Service when its time has come", func(ctx SpecContext) {
		renewed(ctx, "api", ofService)
		requireCertificate(ctx, "api-tls", "services", serviceNames...)
	}, SpecTimeout(specTime))

	It("has a companion, trust-manager, which distributes the roots", func(ctx SpecContext) {
		archive, err := c.MakeImage(ctx, "node.test/cert-manager/trust-manager:v0.0.0", "65532:65532", "trust-manager", "trust-manager")
		Expect(err).NotTo(HaveOccurred())
		Expect(c.Load(ctx, archive)).To(Succeed())
		helm(ctx, "install", "trust-manager", chartOf(ctx, "trustmanager", "github.com/cert-manager/trust-manager", "trust-manager"),
			"--namespace", certManager, "--wait", "--timeout="+patience.String(),
			"--set", "imageRegistry=node.test", "--set", "imageNamespace=cert-manager", "--set", "defaultPackage.enabled=false",
			"--set", "app.trust.namespace="+namespace, "--set", "app.webhook.tls.helmCert.enabled=true")
		apply(ctx, example(guide.Text(certManagerGuide), "kind: Bundle"))
		roots := func(namespace, name string) string {
			return kubectl(ctx, "get", "configmap", "--namespace", namespace, name, "--ignore-not-found", `--output=jsonpath={.data.ca\.crt}`)
		}
		Eventually(ctx, func() string { return roots(team, "acmeca-roots") }).WithTimeout(patience).WithPolling(interval).
			Should(Equal(roots(namespace, "default-ca")))
		kubectl(ctx, "delete", "bundles.trust.cert-manager.io", "--all")
		helm(ctx, "uninstall", "trust-manager", "--namespace", certManager, "--wait", "--timeout="+patience.String())
	}, SpecTimeout(specTime))
})

// chartOf returns the directory of a chart in the module of a project of cert-manager.
func chartOf(ctx context.Context, nested, module, chart string) string {
	GinkgoHelper()
	dir, err := project.ModuleDir(ctx, nested, module)
	Expect(err).NotTo(HaveOccurred())
	return filepath.Join(dir, "deploy", "charts", chart)
}

// resolveToRouter lets the names of the guides resolve to the router's Service, by the guide's configuration of CoreDNS.
func resolveToRouter(ctx context.Context) {
	GinkgoHelper()
	corefile := func() string {
		return kubectl(ctx, "get", "configmap", "--namespace=kube-system", "coredns", "--output=jsonpath={.data.Corefile}")
	}
	before := corefile()
	replace := func(ctx context.Context, text string) {
		GinkgoHelper()
		patch, err := json.Marshal(map[string]any{"data": map[string]string{"Corefile": text}})
		Expect(err).NotTo(HaveOccurred())
		kubectl(ctx, "patch", "configmap", "--namespace=kube-system", "coredns", "--type=merge", "--patch", string(patch))
		kubectl(ctx, "rollout", "restart", "--namespace=kube-system", "deployment/coredns")
		kubectl(ctx, "rollout", "status", "--namespace=kube-system", "deployment/coredns", "--timeout="+patience.String())
	}
	const names = "app.corp.example shop.corp.example gw.corp.example short.corp.example team-a.corp.example"
	block := strings.ReplaceAll(guide.File(guide.Section("cert-manager-in-cluster.md", "Hairpin"), ""), "apps.corp.example", names)
	replace(ctx, strings.Replace(before, "template IN A corp.example", block+"template IN A corp.example", 1))
	DeferCleanup(func(ctx SpecContext) { replace(ctx, before) }, NodeTimeout(patience))
}

// secretChain returns the certificates in tls.crt of a Secret of the team.
func secretChain(ctx context.Context, name string) []*x509.Certificate {
	GinkgoHelper()
	return certificates.Parse([]byte(kubectl(ctx, "get", "secret", "--namespace", team, name, `--output=go-template={{index .data "tls.crt" | base64decode}}`)))
}

// renewed waits until a Certificate of the team is renewed. cert-manager asks when to renew at most once an hour, and does nothing if
// the certificate's own time comes just before the suggested window, so each poll skips the wait.
func renewed(ctx context.Context, certificate string, before *x509.Certificate) {
	GinkgoHelper()
	Eventually(ctx, func() string {
		kubectl(ctx, "patch", "--namespace", team, "certificate", certificate, "--subresource=status", "--type=merge", "--patch",
			`{"status":{"acme":{"ari":{"nextCheck":"2020-01-01T00:00:00Z"}}}}`)
		return secretChain(ctx, certificate+"-tls")[0].SerialNumber.String()
	}).WithTimeout(patience).WithPolling(interval).ShouldNot(Equal(before.SerialNumber.String()))
}

// requireCertificate checks the certificate in a Secret of the team against the roots of an issuer, and returns it.
func requireCertificate(ctx context.Context, secret, issuer string, names ...string) *x509.Certificate {
	GinkgoHelper()
	chain := secretChain(ctx, secret)
	roots := x509.NewCertPool()
	Expect(roots.AppendCertsFromPEM([]byte(kubectl(ctx, "get", "acmeissuer", "--namespace", namespace, issuer, "--output=jsonpath={.status.caBundle}")))).To(BeTrue())
	certificates.Verify(chain, roots, names...)
	return chain[0]
}
