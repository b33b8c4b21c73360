package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/internal/test/cluster"
	"github.com/acmeca/acmeca/internal/test/project"
)

const (
	shop      = "shop"
	serverURI = "spiffe://prod.example/ns/shop/sa/web"
	clientURI = "spiffe://prod.example/ns/shop/sa/caller"
)

// The Pods mount the volumes of docs/guides/pod-certificates.md: web on the second node, and its client on the first.
var _ = Describe("Certificates for Pods", Ordered, func() {
	var guide string

	BeforeAll(func(ctx SpecContext) {
		root, err := project.Root()
		Expect(err).NotTo(HaveOccurred())
		text, err := os.ReadFile(filepath.Join(root, "docs/guides/pod-certificates.md"))
		Expect(err).NotTo(HaveOccurred())
		guide = string(text)
		helm(ctx, append([]string{"install"}, cluster.InstallArgs("--create-namespace", "--set", "podCertificates.enabled=true")...)...)
		DeferCleanup(func(ctx SpecContext) {
			kubectl(ctx, "delete", "namespace", shop, "--ignore-not-found", "--timeout="+patience.String())
			uninstall(ctx)
		}, NodeTimeout(specTime))
		rollout(ctx)
		apply(ctx, example(guide, "kind: AcmeIssuer"))
		kubectl(ctx, "wait", "--for=condition=Ready", "--namespace", namespace, "acmeissuer/mesh", "--timeout="+patience.String())
		kubectl(ctx, "wait", "--for=condition=PodCertificates", "--namespace", namespace, "acmeissuer/mesh", "--timeout="+patience.String())
		apply(ctx, `
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web, namespace: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: caller, namespace: shop}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  selector: {app: web}
  ports: [{port: 8443}]
`)
	}, NodeTimeout(specTime))

	It("let a server and its client speak mutual TLS with mounted files", func(ctx SpecContext) {
		start := time.Now()
		startServer(ctx, guide)
		apply(ctx, mounting(guide, "caller", "caller", c.Nodes[0], "tls-client", "-server=https://web.shop.svc:8443"))
		kubectl(ctx, "wait", "--for=condition=Ready", "--namespace", shop, "pod/web", "pod/caller", "--timeout="+patience.String())
		AddReportEntry("from two Pods to both Ready with certificates", since(start))
		called := firstCall(ctx)
		Expect(called.Server.Names).To(ConsistOf("web.shop.svc", "web.shop.svc.cluster.local"))
		Expect(called.Server.URIs).To(ConsistOf(serverURI))
		Expect(called.Client.Names).To(BeEmpty())
		Expect(called.Client.URIs).To(ConsistOf(clientURI))
		Expect(called.Revoked).To(BeFalse())
		Expect(ask(ctx, "anonymous").Error).To(ContainSubstring("certificate required"))
	}, SpecTimeout(specTime))

	It("are denied to a Pod that no rule covers, which does not start", func(ctx SpecContext) {
		apply(ctx, mounting(guide, "other", "default", c.Nodes[0], "tls-server"))
		Eventually(ctx, func() string {
			return kubectl(ctx, "get", "events", "--namespace", shop, "--field-selector=involvedObject.name=other", "--output=json")
		}).WithTimeout(patience).WithPolling(interval).Should(And(ContainSubstring("PodCertificateDenied"), ContainSubstring("NotCovered")))
		Expect(podOf(ctx, "other").Status.Phase).To(Equal(corev1.PodPending))
		kubectl(ctx, "delete", "pod", "--namespace", shop, "other", "--timeout="+patience.String())
	}, SpecTimeout(specTime))

	// A kubelet asks for new certificates at once when it starts. Without that, the API server allows no refresh in the first ten
	// minutes of a certificate.
	It("are replaced in a running container, and no call fails", func(ctx SpecContext) {
		before, container := call(ctx), podOf(ctx, "web").Status.ContainerStatuses[0].ContainerID
		node := c.Nodes[1]
		start := time.Now()
		Expect(node.Kill(ctx, "kubelet")).To(Succeed())
		Expect(node.StartKubelet(ctx)).To(Succeed())
		calls := 0
		Eventually(ctx, func() string {
			calls++
			return call(ctx).Server.Serial
		}).WithTimeout(patience).WithPolling(interval).ShouldNot(Equal(before.Server.Serial))
		AddReportEntry("from the kubelet's end to a new certificate", fmt.Sprintf("%s, %d calls, none failed", since(start), calls))
		after := call(ctx)
		Expect(after.Server.Names).To(Equal(before.Server.Names))
		Expect(after.Client).To(Equal(before.Client))
		Expect(podOf(ctx, "web").Status.ContainerStatuses[0].ContainerID).To(Equal(container))
		Expect(records(ctx, "web")).To(And(HaveKey(before.Server.Serial), HaveKey(after.Server.Serial), HaveLen(2)))
	}, SpecTimeout(specTime))

	It("are in the CRL once revoked, and a new Pod gets a good one", func(ctx SpecContext) {
		before := call(ctx)
		start := time.Now()
		revoke(ctx, records(ctx, "web")[before.Server.Serial])
		Eventually(ctx, func() bool { return call(ctx).Revoked }).WithTimeout(patience).WithPolling(interval).Should(BeTrue())
		AddReportEntry("from the revocation to the client's view of the CRL", since(start))
		Expect(call(ctx).Server.Serial).To(Equal(before.Server.Serial))

		kubectl(ctx, "delete", "pod", "--namespace", shop, "web", "--timeout="+patience.String())
		startServer(ctx, guide)
		after := firstCall(ctx)
		Expect(after.Revoked).To(BeFalse())
		Expect(after.Server.Serial).NotTo(Equal(before.Server.Serial))
		Expect(records(ctx, "web")).To(HaveKey(before.Server.Serial), "the record of a deleted Pod")
	}, SpecTimeout(specTime))
})

// example returns the YAML of a guide with a text.
func example(guide, text string) string {
	GinkgoHelper()
	for i, block := range strings.Split(guide, "```") {
		if yaml, found := strings.CutPrefix(block, "yaml\n"); found && i%2 == 1 && strings.Contains(yaml, text) {
			return yaml
		}
	}
	Fail("the guide has no example with " + text)
	return ""
}

// mounting returns the Pod of the guide with another name, ServiceAccount and program.
func mounting(guide, name, account string, node *cluster.Node, args ...string) string {
	GinkgoHelper()
	quoted, err := json.Marshal(args)
	Expect(err).NotTo(HaveOccurred())
	manifest := example(guide, "podCertificate:")
	for _, edit := range [][2]string{
		{"name: web\n  namespace", "name: " + name + "\n  namespace"},
		{"{app: web}", "{app: " + name + "}"},
		{"serviceAccountName: web\n", "serviceAccountName: " + account + "\n  terminationGracePeriodSeconds: 1\n  nodeName: " + node.Name + "\n"},
		{"image: registry.example/web\n", "image: " + cluster.ClientImage + "\n    imagePullPolicy: Never\n    args: " + string(quoted) + "\n"},
	} {
		Expect(strings.Count(manifest, edit[0])).To(Equal(1), edit[0])
		manifest = strings.Replace(manifest, edit[0], edit[1], 1)
	}
	return manifest
}

func startServer(ctx context.Context, guide string) {
	GinkgoHelper()
	apply(ctx, mounting(guide, "web", "web", c.Nodes[1], "tls-server"))
}

// A podPeer is one side of a connection, as the other side has verified it.
type podPeer struct {
	Serial      string
	Names, URIs []string
}

// A podCall is the answer of acmeca-client tls-client.
type podCall struct {
	Server, Client podPeer
	Revoked        bool
	Error          string
}

// ask lets the client call the server.
func ask(ctx context.Context, path string) podCall {
	GinkgoHelper()
	var answer podCall
	Expect(json.Unmarshal([]byte(kubectl(ctx, "get", "--raw", "/api/v1/namespaces/shop/pods/caller:8080/proxy/"+path)), &answer)).To(Succeed())
	return answer
}

// firstCall waits until the Service leads to the server.
func firstCall(ctx context.Context) podCall {
	GinkgoHelper()
	var answer podCall
	Eventually(ctx, func() string {
		answer = ask(ctx, "call")
		return answer.Error
	}).WithTimeout(patience).WithPolling(interval).Should(BeEmpty())
	return answer
}

// call lets the client call the server, which must succeed.
func call(ctx context.Context) podCall {
	GinkgoHelper()
	answer := ask(ctx, "call")
	Expect(answer.Error).To(BeEmpty())
	return answer
}

func podOf(ctx context.Context, name string) *corev1.Pod {
	GinkgoHelper()
	pod, err := kubernetic.CoreV1().Pods(shop).Get(ctx, name, metav1.GetOptions{})
	Expect(err).NotTo(HaveOccurred())
	return pod
}

// records returns the names of a Pod's orders by serial.
func records(ctx context.Context, pod string) map[string]string {
	GinkgoHelper()
	lines := kubectl(ctx, "get", "acmeorders", "--namespace", namespace, "--field-selector=spec.pod.name="+pod,
		`--output=jsonpath={range .items[*]}{.status.serial}{" "}{.metadata.name}{"\n"}{end}`)
	found := map[string]string{}
	for line := range strings.Lines(lines) {
		serial, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		found[strings.TrimLeft(serial, "0")] = name
	}
	return found
}

// revoke revokes the certificate of an order as the guide says.
func revoke(ctx context.Context, order string) {
	GinkgoHelper()
	root, err := project.Root()
	Expect(err).NotTo(HaveOccurred())
	cmd := exec.CommandContext(ctx, filepath.Join(root, "bin", "kubectl-acme"), "revoke", order, "--namespace", namespace)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig())
	output, err := cmd.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(output))
}

func since(start time.Time) string { return fmt.Sprintf("%.1f s", time.Since(start).Seconds()) }
