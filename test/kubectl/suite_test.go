// Package kubectl runs the plugin as a person does: `kubectl acme ...`, with a kubeconfig, against a running acmeca.
package kubectl

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/internal/test/binaries"
	"github.com/acmeca/acmeca/internal/test/http01"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/internal/test/project"
	"github.com/acmeca/acmeca/test/internal/suite"
)

func TestKubectl(t *testing.T) { suite.Run(t, "kubectl acme") }

// patience bounds a wait on a busy machine.
const patience = time.Minute

var (
	acmeca    *local.Local
	kube      client.Client // with every right
	responder *http01.Responder
	programs  string // the directory with the plugin and kubectl
	config    string // the kubeconfig, whose context has the operator's namespace
)

var _ = BeforeSuite(func(ctx SpecContext) {
	assets, err := binaries.Find("kubectl")
	Expect(err).NotTo(HaveOccurred())
	programs = GinkgoT().TempDir()
	Expect(os.Symlink(filepath.Join(assets, "kubectl"), filepath.Join(programs, "kubectl"))).To(Succeed())
	buildPlugin(ctx)

	acmeca = suite.Start(ctx)
	startResponder()
	DeferCleanup(func() { responder.Stop() })
	kube = acmeca.Client()

	config = filepath.Join(programs, "kubeconfig")
	text, err := os.ReadFile(acmeca.Kubeconfig())
	Expect(err).NotTo(HaveOccurred())
	Expect(os.WriteFile(config, text, 0o600)).To(Succeed())
	run(ctx, "kubectl", "config", "set-context", "--current", "--namespace", local.Namespace)
})

// startResponder answers http-01 for every name.
func startResponder() {
	GinkgoHelper()
	var err error
	responder, err = http01.Start(acmeca.Ports().HTTP01)
	Expect(err).NotTo(HaveOccurred())
}

// buildPlugin builds this tree's plugin, with the link that kubectl uses to complete its arguments.
func buildPlugin(ctx context.Context) {
	GinkgoHelper()
	root, err := project.Root()
	Expect(err).NotTo(HaveOccurred())
	cmd := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(programs, "kubectl-acme"), "./cmd/kubectl-acme")
	cmd.Dir = root
	output, err := cmd.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "%s", output)
	Expect(os.Symlink("kubectl-acme", filepath.Join(programs, "kubectl_complete-acme"))).To(Succeed())
}

var _ = suite.ShowLog(&acmeca)

// command returns a command in a person's shell: the plugin is on the PATH, and KUBECONFIG is set.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	path := name
	if !strings.Contains(name, "/") {
		if _, err := os.Stat(filepath.Join(programs, name)); err == nil {
			path = filepath.Join(programs, name)
		}
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "PATH="+programs+":"+os.Getenv("PATH"), "KUBECONFIG="+config)
	return cmd
}

// run runs a program that must succeed, and returns its standard output.
func run(ctx context.Context, name string, args ...string) string {
	GinkgoHelper()
	return runWith(ctx, "", name, args...)
}

// patchStatus changes an order's status. Only the controllers and people who restore a backup may do so.
func patchStatus(ctx context.Context, order, patch string) {
	GinkgoHelper()
	run(ctx, "kubectl", "--as", "restorer", "--as-group", "system:masters", "--as-group", "acmeca.dev:restore",
		"patch", "acmeorder", order, "--subresource", "status", "--type", "merge", "-p", patch)
}

func runWith(ctx context.Context, stdin, name string, args ...string) string {
	GinkgoHelper()
	cmd := command(ctx, name, args...)
	var said bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(stdin), &said
	output, err := cmd.Output()
	Expect(err).NotTo(HaveOccurred(), "%s %q\n%s%s", name, args, output, &said)
	return string(output)
}

// plugin runs `kubectl acme`.
func plugin(ctx context.Context, args ...string) string {
	GinkgoHelper()
	return run(ctx, "kubectl", append([]string{"acme"}, args...)...)
}

// refused runs `kubectl acme`, which must fail, and returns its output.
func refused(ctx context.Context, args ...string) string {
	GinkgoHelper()
	output, err := command(ctx, "kubectl", append([]string{"acme"}, args...)...).CombinedOutput()
	Expect(err).To(HaveOccurred(), "%q\n%s", args, output)
	return string(output)
}
