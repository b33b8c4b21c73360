package kubectl

import (
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/project"
)

// commandsIn returns the commands in a guide in order: the lines of its sh blocks.
func commandsIn(guide string) []string {
	GinkgoHelper()
	text, err := os.ReadFile(guide)
	Expect(err).NotTo(HaveOccurred())
	var commands []string
	_, rest, found := strings.Cut(string(text), "\n```sh\n")
	for found {
		var block string
		block, rest, found = strings.Cut(rest, "\n```\n")
		Expect(found).To(BeTrue(), "a block without an end")
		commands = append(commands, strings.Split(block, "\n")...)
		_, rest, found = strings.Cut(rest, "\n```sh\n")
	}
	return commands
}

var _ = Describe("The guide", func() {
	It("has commands that work in order", func(ctx SpecContext) {
		if !haveCertManager(ctx) {
			Skip("cert-manager's CRDs are not available")
		}
		root, err := project.Root()
		Expect(err).NotTo(HaveOccurred())
		commands := commandsIn(filepath.Join(root, "docs", "guides", "kubectl-acme.md"))
		Expect(len(commands)).To(BeNumerically(">", 20))

		issuer := issuerNamed(ctx, "default", func(*v1alpha1.AcmeIssuerSpec) {})
		user := registered(ctx, issuer)
		issue(ctx, user, "shop.test")
		_, old := issue(ctx, user, "old.test")
		issue(ctx, user, "old.test")
		home := GinkgoT().TempDir()
		Expect(os.Mkdir(filepath.Join(home, "bin"), 0o755)).To(Succeed())
		Expect(os.WriteFile(filepath.Join(home, "old.test.crt"), []byte(pemOf(old...)), 0o600)).To(Succeed())
		kubeconfig := filepath.Join(home, "kubeconfig")
		run(ctx, "cp", config, kubeconfig)
		run(ctx, "kubectl", "--kubeconfig", kubeconfig, "config", "set-context", "--current", "--namespace", issuer.Namespace)

		script := "set -eux\n"
		for _, line := range commands {
			if strings.HasPrefix(line, "make ") || strings.HasPrefix(line, "cp ") { // in the source tree
				line = "(cd " + root + " && " + line + ")"
			}
			script += line + "\n"
		}
		cmd := command(ctx, "bash", "-c", script)
		cmd.Env = append(cmd.Env, "KUBECONFIG="+kubeconfig, "HOME="+home)
		for _, variable := range []string{"GOCACHE", "GOMODCACHE"} {
			cmd.Env = append(cmd.Env, variable+"="+strings.TrimSpace(run(ctx, "go", "env", variable)))
		}
		cmd.Dir = home
		output, err := cmd.CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), "%s", output)
		AddReportEntry("the guide", string(output), ReportEntryVisibilityFailureOrVerbose)
	}, SpecTimeout(6*patience))
})
