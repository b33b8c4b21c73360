// Package cluster tests acmeca's Pods in a Kubernetes cluster with two real nodes: `make test-cluster`.
package cluster

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/acmeca/acmeca/internal/test/cluster"
	"github.com/acmeca/acmeca/internal/test/project"
	"github.com/acmeca/acmeca/test/internal/guide"
	"github.com/acmeca/acmeca/test/internal/suite"
)

func TestCluster(t *testing.T) {
	if os.Getenv("ACMECA_TEST_CLUSTER") == "" {
		t.Skip("make test-cluster runs this suite, as root")
	}
	if err := cluster.Check(); err != nil {
		t.Skip(err)
	}
	suite.Run(t, "Cluster")
}

const (
	namespace = cluster.Namespace
	// patience bounds a wait on a busy machine.
	patience = 4 * time.Minute
	// specTime bounds a spec.
	specTime = 10 * time.Minute
	interval = 500 * time.Millisecond
)

var (
	c          *cluster.Cluster
	kubernetic *kubernetes.Clientset
)

var _ = BeforeSuite(func(ctx SpecContext) {
	dir := GinkgoT().TempDir()
	DeferCleanup(func() { Expect(cluster.Remove(dir)).To(Succeed()) })
	var err error
	c, err = cluster.Start(ctx, cluster.Options{Dir: dir, Nodes: 2, Progress: GinkgoWriter})
	Expect(err).NotTo(HaveOccurred())
	config, err := c.Config()
	Expect(err).NotTo(HaveOccurred())
	kubernetic, err = kubernetes.NewForConfig(config)
	Expect(err).NotTo(HaveOccurred())
	Expect(c.BuildImages(ctx)).To(Succeed())
}, NodeTimeout(15*time.Minute))

// kubectl runs kubectl, which must succeed.
func kubectl(ctx context.Context, args ...string) string {
	GinkgoHelper()
	output, err := c.Kubectl(ctx, args...)
	Expect(err).NotTo(HaveOccurred())
	return strings.TrimSpace(output)
}

func helm(ctx context.Context, args ...string) string {
	GinkgoHelper()
	output, err := c.Helm(ctx, args...)
	Expect(err).NotTo(HaveOccurred())
	return output
}

func apply(ctx context.Context, manifests string) {
	GinkgoHelper()
	Expect(c.Apply(ctx, []byte(manifests))).To(Succeed())
}

// rollout waits until the Pods of acmeca's Deployments are up to date and ready.
func rollout(ctx context.Context) {
	GinkgoHelper()
	for _, half := range []string{"controller", "server"} {
		kubectl(ctx, "rollout", "status", "--namespace", namespace, "deployment/acmeca-"+half, "--timeout="+patience.String())
	}
}

// pods returns the running Pods of a half that don't end.
func pods(ctx context.Context, half string) []corev1.Pod {
	GinkgoHelper()
	list, err := kubernetic.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=" + half})
	Expect(err).NotTo(HaveOccurred())
	var running []corev1.Pod
	for _, pod := range list.Items {
		if pod.DeletionTimestamp == nil && pod.Status.Phase == corev1.PodRunning {
			running = append(running, pod)
		}
	}
	return running
}

// containerOf returns the node of a Pod and the id of its container.
func containerOf(pod corev1.Pod) (*cluster.Node, string) {
	GinkgoHelper()
	for _, n := range c.Nodes {
		if n.Name == pod.Spec.NodeName {
			return n, strings.TrimPrefix(pod.Status.ContainerStatuses[0].ContainerID, "containerd://")
		}
	}
	Fail(pod.Name + " is on no node")
	return nil, ""
}

// probe runs acmeca-client probe by run, and returns the answers by address: open, refused or blocked.
func probe(run func(args ...string) (string, error), addresses ...string) map[string]string {
	GinkgoHelper()
	output, err := run(append([]string{"probe"}, addresses...)...)
	Expect(err).NotTo(HaveOccurred())
	answers := map[string]string{}
	for line := range strings.Lines(output) {
		if address, answer, found := strings.Cut(strings.TrimSpace(line), " "); found {
			answers[address] = answer
		}
	}
	Expect(answers).To(HaveLen(len(addresses)))
	return answers
}

// guideShell returns a shell with kubectl and the plugin.
func guideShell(ctx context.Context) *guide.Shell {
	GinkgoHelper()
	root, err := project.Root()
	Expect(err).NotTo(HaveOccurred())
	dir := GinkgoT().TempDir()
	build := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(dir, "kubectl-acme"), "./cmd/kubectl-acme")
	build.Dir = root
	output, err := build.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(output))
	return &guide.Shell{Environment: []string{
		"KUBECONFIG=" + c.Kubeconfig(), "KUBECACHEDIR=" + dir, "HELM_CACHE_HOME=" + dir, "HELM_CONFIG_HOME=" + dir, "HELM_DATA_HOME=" + dir,
		"PATH=" + strings.Join([]string{dir, filepath.Join(root, "bin"), os.Getenv("PATH")}, ":"),
	}}
}

// gone matches an object that kubectl doesn't find any more.
func gone(ctx context.Context, args ...string) func() error {
	return func() error {
		output, err := c.Kubectl(ctx, append([]string{"get", "--ignore-not-found", "--output=name"}, args...)...)
		if err == nil && strings.TrimSpace(output) != "" {
			err = errors.New(output)
		}
		return err
	}
}
