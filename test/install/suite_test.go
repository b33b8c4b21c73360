// Package install installs acmeca as a person does, from kustomize's output, and runs both halves with only the
// rights of their ServiceAccounts.
package install

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/binaries"
	"github.com/acmeca/acmeca/internal/test/controlplane"
	"github.com/acmeca/acmeca/internal/test/project"
	"github.com/acmeca/acmeca/test/internal/suite"
)

func TestInstall(t *testing.T) { suite.Run(t, "Install") }

var (
	plane *controlplane.Plane
	// person has every right, like a cluster administrator.
	person     client.Client
	kubeconfig string
	root       string // of the source tree
	program    string // the operator's program
	auditLog   string
)

// auditPolicy logs every request, except those that everyone may send.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  userGroups: ["system:serviceaccounts"]
- level: None
`

var _ = BeforeSuite(func(ctx SpecContext) {
	var err error
	root, err = project.Root()
	Expect(err).NotTo(HaveOccurred())
	dir := GinkgoT().TempDir()
	program = filepath.Join(dir, "acmeca")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./cmd/acmeca")
	build.Dir = root
	output, err := build.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "%s", output)

	auditLog = filepath.Join(dir, "audit.log")
	policy := filepath.Join(dir, "audit.yaml")
	Expect(os.WriteFile(policy, []byte(auditPolicy), 0o600)).To(Succeed())
	plane, err = controlplane.Start(ctx, controlplane.Options{Dir: dir, UnsafeNoFsync: true, APIServerArgs: []string{
		"--audit-policy-file=" + policy, "--audit-log-path=" + auditLog, "--audit-log-mode=blocking",
	}})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { plane.Stop() })

	scheme := runtime.NewScheme()
	Expect(clientgoscheme.AddToScheme(scheme)).To(Succeed())
	Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	person, err = client.New(plane.Config(), client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	kubeconfig = filepath.Join(dir, "kubeconfig")
	Expect(plane.WriteKubeconfig(kubeconfig)).To(Succeed())
})

// kubectl runs a command that must succeed, and returns its output.
func kubectl(ctx SpecContext, args ...string) string {
	GinkgoHelper()
	assets, err := binaries.Find("kubectl")
	Expect(err).NotTo(HaveOccurred())
	cmd := exec.CommandContext(ctx, filepath.Join(assets, "kubectl"), append([]string{"--kubeconfig", kubeconfig}, args...)...)
	output, err := cmd.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "%s", output)
	return string(output)
}
