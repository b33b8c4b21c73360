package docs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/internal/test/binaries"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/internal/test/project"
	"github.com/acmeca/acmeca/test/internal/guide"
	"github.com/acmeca/acmeca/test/internal/programs"
	"github.com/acmeca/acmeca/test/internal/suite"
)

func TestWhatIsTyped(t *testing.T) { suite.Run(t, "What a reader types") }

const (
	startTime = 3 * time.Minute // includes the build of two programs
	readTime  = 2 * time.Minute // for one page
)

var _ = Describe("What a reader types", Ordered, func() {
	var reader *guide.Shell
	BeforeAll(func(ctx SpecContext) { reader = atATerminal(ctx) }, NodeTimeout(startTime))
	programs.Need("lego", "lego", "certbot", "certbot", "openssl", "openssl")

	It("of the README gets certificates, and shows the results", func(ctx SpecContext) {
		for _, block := range guide.Section("../../README.md", "Try it") {
			if !strings.Contains(block.Text, "make run") { // already runs
				reader.Run(ctx, guide.Commands([]guide.Block{block}))
			}
		}
	}, SpecTimeout(readTime))

	It("of the quickstart works in order", func(ctx SpecContext) {
		commands := ""
		for _, heading := range []string{"A certificate", "The order and its objects", "A failed order", "Revoke"} {
			commands += guide.Commands(guide.Section("../quickstart.md", heading))
		}
		said := reader.Run(ctx, commands)
		Expect(said).To(ContainSubstring("hello.test.crt: OK"))
		_, why, _ := strings.Cut(said, "Could not obtain certificates")
		Expect(why).To(ContainSubstring(`"nobody.invalid" doesn't exist`))
		Expect(why).To(ContainSubstring("Create the A or AAAA record of nobody.invalid"))
		Expect(said).To(ContainSubstring("revoked"))
	}, SpecTimeout(readTime))

	It("of the guide to lego gets a certificate, renews and revokes it", func(ctx SpecContext) {
		commands := func(heading string) string { return guide.Commands(guide.Section("lego.md", heading)) }
		reader.Run(ctx, commands("A certificate"))
		Expect(reader.Run(ctx, commands("Renewal"))).To(ContainSubstring("no renewal"))
		reader.Run(ctx, commands("Revocation"))
		Expect(reader.Run(ctx, "kubectl acme -n acmeca-system why www.test")).To(ContainSubstring("revoked"))
	}, SpecTimeout(readTime))

	It("of the guide to external accounts creates usable keys, and revokes them", func(ctx SpecContext) {
		issuer := guide.File(guide.Section("external-accounts.md", "An issuer that requires keys"), "yaml")
		reader.Run(ctx, "kubectl apply -f - <<'YAML'\n"+issuer+"YAML\nkubectl wait --for=condition=Ready acmeissuer/teams --timeout=60s\n")
		said := reader.Run(ctx, guide.Commands(guide.Section("external-accounts.md", "Create a key")))
		Expect(said).To(MatchRegexp(`team-a +`))
		said = reader.Run(ctx, guide.Commands(guide.Section("external-accounts.md", "Revoke a key"))+"kubectl acme eab list teams\n")
		Expect(said).To(ContainSubstring("team-b"))
	}, SpecTimeout(readTime))

	It("of the guide to an existing CA lets the issuer sign with it", func(ctx SpecContext) {
		said := reader.Run(ctx, guide.Commands(guide.Section("bring-your-own-ca.md", "An intermediate"))+
			guide.Commands(guide.Section("bring-your-own-ca.md", "The Secret and the issuer")))
		root, err := os.ReadFile(filepath.Join(reader.Dir, "root.crt"))
		Expect(err).NotTo(HaveOccurred())
		Expect(said).To(ContainSubstring(strings.TrimSpace(string(root))), "kubectl acme trust prints the root")
	}, SpecTimeout(readTime))

	It("of the guide to the certificate authority removes the root, and lets all certificates be renewed", func(ctx SpecContext) {
		reader.Run(ctx, guide.Commands(guide.Section("certificate-authority.md", "Keys")))
		reader.Run(ctx, "openssl genpkey -algorithm ed25519 | openssl pkey -pubout -out key.pub\n"+guide.Commands(guide.Section("certificate-authority.md", "A compromised CA")))
		said := reader.Run(ctx, "kubectl get acmeissuer default -o jsonpath='{.spec.renewalInfo.renewIssuedBefore} {.status.conditions[?(@.type==\"Ready\")].reason}'\n"+
			"kubectl get secret default-root --ignore-not-found\n")
		Expect(said).To(MatchRegexp(`^\d{4}-\d\d-\d\dT[0-9:]+Z Ready$`))
	}, SpecTimeout(readTime))

	It("of the runbooks prints the described output", func(ctx SpecContext) {
		reader.Run(ctx, "kubectl apply --server-side -f config/controller/deployment.yaml -f config/server/deployment.yaml")
		failed := func(kind string) string {
			return strings.TrimSpace(reader.Run(ctx, "kubectl get "+kind+" -n acmeca-system --field-selector status.state=invalid -o jsonpath='{.items[0].metadata.name}'"))
		}
		site := strings.NewReplacer("NAMESPACE", "acmeca-system", "acmeorder NAME", "acmeorder "+failed("acmeorders"),
			"acmeauthorization NAME", "acmeauthorization "+failed("acmeauthorizations"), "NAME", "default")
		said := map[string]string{}
		for _, page := range runbooks() {
			for _, heading := range guide.Headings(page) {
				said[filepath.Base(page)] += reader.Run(ctx, logsOfNoPod+site.Replace(guide.Commands(guide.Section(page, heading))))
			}
		}
		Expect(len(said)).To(BeNumerically(">", 8))
		Expect(said["AcmecaControllersDown.md"]).To(And(ContainSubstring("holderIdentity:"), ContainSubstring("Starting Controller")))
		Expect(said["AcmecaCAExpiresSoon.md"]).To(And(ContainSubstring("notAfter="), ContainSubstring("annotated")))
		Expect(said["AcmecaServerCertificateExpiresSoon.md"]).To(And(ContainSubstring("notAfter="), ContainSubstring("Subject Alternative Name")))
		Expect(said["AcmecaCRLStale.md"]).To(And(ContainSubstring("default-crl-"), ContainSubstring(`"revocationlist"`)))
		Expect(said["AcmecaIssuanceFailing.md"]).To(And(ContainSubstring("nobody.invalid"), ContainSubstring(`"order failed"`)))
		Expect(said["AcmecaValidationsFailing.md"]).To(And(ContainSubstring("nobody.invalid"), ContainSubstring("NXDOMAIN")))
	}, SpecTimeout(readTime))

	It("of the guide to installing and of the README applies the manifests and creates the first issuer", func(ctx SpecContext) {
		said := ""
		for _, heading := range []string{"kubectl and kustomize", "Helm", "Operator Lifecycle Manager", "The first issuer"} {
			said += reader.Run(ctx, withKubectl(guide.Commands(guide.Section("install.md", heading))))
		}
		Expect(said).To(And(ContainSubstring("deployment.apps/acmeca-controller serverside-applied (server dry run)"), ContainSubstring("networkpolicy.networking.k8s.io/acmeca-"),
			ContainSubstring("namespace/acmeca-system labeled"), ContainSubstring("acmeissuer.acmeca.dev/default condition met")))
		said = reader.Run(ctx, withKubectl(guide.Commands(guide.Section("../../README.md", "Install it in a cluster"))))
		Expect(said).To(ContainSubstring("acmeissuer.acmeca.dev/default condition met"))
	}, SpecTimeout(readTime))
})

// withKubectl returns the commands that use only kubectl, as dry runs of their installation. The operator that runs
// here belongs to other accounts; test/run runs `make deploy` for real.
func withKubectl(commands string) string {
	kept := ""
	for line := range strings.Lines(commands) {
		if strings.HasPrefix(line, "kubectl ") {
			kept += line
		}
	}
	return strings.NewReplacer("apply --server-side -k", "apply --server-side --force-conflicts --dry-run=server -k", "apply -k", "apply --dry-run=server -k").Replace(kept)
}

// logsOfNoPod replaces `kubectl logs`, which needs a node, by the log of the running operator.
const logsOfNoPod = `kubectl() { case " $* " in *" logs "*) cat .local/log/acmeca.log;; *) command kubectl "$@";; esac; }
`

// runbooks returns the pages of alerts, relative to docs/guides.
func runbooks() []string {
	GinkgoHelper()
	pages, err := filepath.Glob("../../docs/runbooks/Acmeca*.md")
	Expect(err).NotTo(HaveOccurred())
	for i, page := range pages {
		pages[i] = "../runbooks/" + filepath.Base(page)
	}
	return pages
}

// atATerminal returns a shell as a reader has it: in the source tree, with acmeca started by `make run`. The tree is
// a directory with links, and acmeca has its own ports and state.
func atATerminal(ctx context.Context) *guide.Shell {
	GinkgoHelper()
	root, err := project.Root()
	Expect(err).NotTo(HaveOccurred())
	assets, err := binaries.Find("kubectl")
	Expect(err).NotTo(HaveOccurred())
	acmeca := suite.Start(ctx, "--leader-elect") // as an installation does

	tree := GinkgoT().TempDir()
	bin := filepath.Join(tree, "bin")
	Expect(os.Mkdir(bin, 0o755)).To(Succeed())
	build := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(bin, "kubectl-acme"), "./cmd/kubectl-acme")
	build.Dir = root
	output, err := build.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "%s", output)
	for from, to := range map[string]string{
		filepath.Join(assets, "kubectl"): "bin/kubectl", acmeca.Path(): ".local", filepath.Join(root, "config"): "config",
	} {
		Expect(os.Symlink(from, filepath.Join(tree, to))).To(Succeed())
	}
	ports, usual := acmeca.Ports(), local.DefaultPorts
	return &guide.Shell{
		Dir:         tree,
		Environment: []string{"KUBECONFIG=" + acmeca.Kubeconfig(), "PATH=" + bin + ":" + os.Getenv("PATH")},
		Here: strings.NewReplacer(
			fmt.Sprintf("127.0.0.1:%d", usual.HTTPS), fmt.Sprintf("127.0.0.1:%d", ports.HTTPS),
			fmt.Sprintf(":%d", usual.HTTP01), fmt.Sprintf(":%d", ports.HTTP01),
			fmt.Sprintf("--http-01-port %d", usual.HTTP01), fmt.Sprintf("--http-01-port %d", ports.HTTP01),
			"make kubectl-acme\n", "", // already built
			"https://acme.corp.example", acmeca.BaseURL(), "www.corp.example", "www.test",
			"/etc/acmeca/ca.crt", acmeca.CAFile(), "/var/lib/lego", ".local/guide", ":80 ", fmt.Sprintf(":%d ", ports.HTTP01),
		),
	}
}
