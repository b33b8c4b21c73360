package cluster

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/internal/test/cluster"
	"github.com/acmeca/acmeca/internal/test/project"
	"github.com/acmeca/acmeca/test/internal/guide"
)

const installGuide = "install.md"

// The specs are a day of one installation, in this order.
var _ = Describe("An installation by Helm", Ordered, func() {
	var shell *guide.Shell

	BeforeAll(func(ctx SpecContext) {
		shell = guideShell(ctx)
		shell.Here = strings.NewReplacer("registry.example/acmeca", cluster.Repository+" --set image.tag="+cluster.Tag,
			"uninstall --all-namespaces", "uninstall --all-namespaces --yes") // there is no terminal to ask on
	}, NodeTimeout(specTime))

	It("as the guide says runs in a namespace that enforces restricted, and a Pod gets a certificate", func(ctx SpecContext) {
		kubectl(ctx, "create", "namespace", namespace)
		kubectl(ctx, "label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
		start := time.Now()
		shell.Run(ctx, guide.Commands(guide.Section(installGuide, "Helm")))
		shell.Run(ctx, guide.Commands(guide.Section(installGuide, "The first issuer")))
		Expect(c.PrepareClient(ctx)).To(Succeed())
		_, err := c.FirstCertificate(ctx)
		Expect(err).NotTo(HaveOccurred())
		AddReportEntry("from helm install to the first certificate", fmt.Sprintf("%.1f s", time.Since(start).Seconds()))
		rollout(ctx)
	}, SpecTimeout(specTime))

	It("runs the release's binary, in the image that anyone can build", func(ctx SpecContext) {
		root, err := project.Root()
		Expect(err).NotTo(HaveOccurred())
		run := func(args ...string) string {
			GinkgoHelper()
			cmd := exec.CommandContext(ctx, args[0], args[1:]...)
			cmd.Dir = root
			output, err := cmd.Output()
			Expect(err).NotTo(HaveOccurred())
			return strings.Fields(string(output))[0]
		}
		dir := GinkgoT().TempDir()
		Expect(exec.CommandContext(ctx, filepath.Join(root, "hack/release-binary.sh"), dir+"/acmeca").Run()).To(Succeed())
		binary := run("sha256sum", dir+"/acmeca")
		image := cluster.Repository + ":" + cluster.Tag
		digest := run("hack/image.sh", image, "-o", dir+"/image.tar")
		for _, pod := range slices.Concat(pods(ctx, "server"), pods(ctx, "controller")) {
			node, container := containerOf(pod)
			Expect(node.ProgramSum(ctx, container)).To(Equal(binary))
			Expect(node.ImageDigest(ctx, image)).To(Equal(digest))
		}
	}, SpecTimeout(specTime))

	It("admits only the connections that its network policies name", func(ctx SpecContext) {
		reportUse(ctx, "after the first certificate")
		startLoad(ctx)
		server, controller := pods(ctx, "server")[0], pods(ctx, "controller")[0]
		loader, err := kubernetic.CoreV1().Pods("client").Get(ctx, loadPod, metav1.GetOptions{})
		Expect(err).NotTo(HaveOccurred())
		at := func(ip, port string) string { return ip + ":" + port }
		serverPorts := []string{at(server.Status.PodIP, "8443"), at(server.Status.PodIP, "8080"), at(server.Status.PodIP, "8444"),
			at(server.Status.PodIP, "8082"), at(controller.Status.PodIP, "8080"), at(controller.Status.PodIP, "8082")}

		By("from a machine outside of the cluster, and from a Pod of another namespace")
		node, container := containerOf(*loader)
		for _, run := range []func(...string) (string, error){outside(ctx), inside(ctx, node, container)} {
			answers := probe(run, serverPorts...)
			Expect(answers[serverPorts[0]]).To(Equal("open"))
			Expect(answers[serverPorts[1]]).To(Equal("open"))
			for _, closed := range serverPorts[2:] {
				Expect(answers[closed]).NotTo(Equal("open"), closed)
			}
		}

		By("from a namespace for metrics")
		kubectl(ctx, "label", "namespace", "client", "metrics=enabled")
		Eventually(ctx, func() string {
			return probe(inside(ctx, node, container), serverPorts[3])[serverPorts[3]]
		}).WithTimeout(patience).WithPolling(interval).Should(Equal("open"))
		Expect(probe(inside(ctx, node, container), serverPorts[2])[serverPorts[2]]).NotTo(Equal("open"))
		kubectl(ctx, "label", "namespace", "client", "metrics-")

		By("from the ACME server: the API server, DNS and other replicas, and nothing else")
		node, container = containerOf(server)
		api, client, other := "10.96.0.1:443", at(loader.Status.PodIP, "8080"), at(pods(ctx, "server")[1].Status.PodIP, "8444")
		answers := probe(inside(ctx, node, container), api, "10.96.0.10:53", other, client)
		Expect(answers).To(And(HaveKeyWithValue(api, "open"), HaveKeyWithValue("10.96.0.10:53", "open"), HaveKeyWithValue(other, "open")))
		Expect(answers[client]).NotTo(Equal("open"))

		By("from the controllers: everywhere, for validation")
		node, container = containerOf(controller)
		Expect(probe(inside(ctx, node, container), client)).To(HaveKeyWithValue(client, "open"))
	}, SpecTimeout(specTime))

	It("loses no certificate in rolling updates under load", func(ctx SpecContext) {
		disturb(ctx, "rolling update of both halves", func() {
			kubectl(ctx, "rollout", "restart", "--namespace", namespace, "deployment/acmeca-server", "deployment/acmeca-controller")
			rollout(ctx)
		})
		requireAllStored(ctx)
	}, SpecTimeout(specTime))

	It("loses no certificate when the leader of the controllers is killed", func(ctx SpecContext) {
		disturb(ctx, "leader killed", func() { killLeader(ctx) })
		requireAllStored(ctx)
	}, SpecTimeout(specTime))

	It("loses no certificate when a replica of the ACME server is killed", func(ctx SpecContext) {
		disturb(ctx, "server killed", func() {
			node, container := containerOf(pods(ctx, "server")[0])
			Expect(node.KillContainer(ctx, container)).To(Succeed())
		})
		requireAllStored(ctx)
	}, SpecTimeout(specTime))

	It("issues while a kubelet and containerd are down", func(ctx SpecContext) {
		node := c.Nodes[1] // the Pod of the load is on the first
		disturb(ctx, "kubelet and containerd killed", func() {
			Expect(node.Kill(ctx, "kubelet")).To(Succeed())
			Expect(node.Kill(ctx, "containerd")).To(Succeed())
			awaitIssued(ctx, 50)
			Expect(node.StartContainerd(ctx)).To(Succeed())
			Expect(node.StartKubelet(ctx)).To(Succeed())
			kubectl(ctx, "wait", "--for=condition=Ready", "node/"+node.Name, "--timeout="+patience.String())
		})
		requireAllStored(ctx)
	}, SpecTimeout(specTime))

	It("issues while a node is drained, as the disruption budgets allow", func(ctx SpecContext) {
		disturb(ctx, "drain", func() {
			kubectl(ctx, "drain", c.Nodes[1].Name, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout="+patience.String())
			rollout(ctx)
		})
		kubectl(ctx, "uncordon", c.Nodes[1].Name)
		requireAllStored(ctx)
	}, SpecTimeout(specTime))

	It("spreads the replicas over the nodes", func(ctx SpecContext) {
		kubectl(ctx, "rollout", "restart", "--namespace", namespace, "deployment/acmeca-server", "deployment/acmeca-controller")
		rollout(ctx)
		for _, half := range []string{"server", "controller"} {
			nodes := map[string]int{}
			for _, pod := range pods(ctx, half) {
				nodes[pod.Spec.NodeName]++
			}
			Expect(nodes).To(HaveLen(2), half)
		}
	}, SpecTimeout(specTime))

	It("issues while a node with replicas of both halves is gone", func(ctx SpecContext) {
		node := c.Nodes[1]
		disturb(ctx, "crash of a node", func() {
			start := time.Now()
			Expect(node.Crash()).To(Succeed())
			awaitIssued(ctx, 10)
			AddReportEntry("from a node's crash to ten certificates", since(start))
			kubectl(ctx, "wait", "--for=condition=Ready=Unknown", "node/"+node.Name, "--timeout="+patience.String())
			awaitIssued(ctx, 50)
			Expect(node.Restart(ctx)).To(Succeed())
			rollout(ctx)
		})
		requireAllStored(ctx)
	}, SpecTimeout(specTime))

	It("is upgraded and rolled back by Helm under load", func(ctx SpecContext) {
		disturb(ctx, "helm upgrade and rollback", func() {
			helm(ctx, append([]string{"upgrade"}, cluster.InstallArgs("--set", "server.replicas=2")...)...)
			rollout(ctx)
			Eventually(ctx, func() int { return len(pods(ctx, "server")) }).WithTimeout(patience).WithPolling(interval).Should(Equal(2))
			helm(ctx, "rollback", "acmeca", "1", "--namespace", namespace)
			rollout(ctx)
			Expect(pods(ctx, "server")).To(HaveLen(3))
		})
		requireAllStored(ctx)
	}, SpecTimeout(specTime))

	It("survives floods and slow requests within its memory limits, and goes on issuing", func(ctx SpecContext) {
		restarts := restartsOf(slices.Concat(pods(ctx, "server"), pods(ctx, "controller"))...)
		disturb(ctx, "floods and slow requests of 8 Pods", func() {
			answers := attack(ctx)
			AddReportEntry("answers to attackers", fmt.Sprint(answers))
			Expect(answers).To(And(HaveKey("directory 200"), HaveKey("deep JSON 400"), HaveKey("large body 413")))
		})
		requireNoOOM(ctx, restarts)
		requireAllStored(ctx)
	}, SpecTimeout(specTime))

	It("has the clock of its nodes", func(ctx SpecContext) {
		before := time.Now().UnixNano()
		inPod, err := strconv.ParseInt(kubectl(ctx, "exec", "--namespace=client", loadPod, "--", "/acmeca-client", "clock"), 10, 64)
		Expect(err).NotTo(HaveOccurred())
		Expect(inPod).To(And(BeNumerically(">", before), BeNumerically("<", time.Now().UnixNano())))
	}, SpecTimeout(specTime))

	It("stays within its memory limits", func(ctx SpecContext) {
		reportUse(ctx, "under load")
		for _, half := range []string{"server", "controller"} {
			for _, pod := range pods(ctx, half) {
				last := pod.Status.ContainerStatuses[0].LastTerminationState.Terminated
				Expect(last == nil || last.Reason != "OOMKilled").To(BeTrue(), pod.Name)
			}
		}
		kubectl(ctx, "delete", "pod", "--namespace=client", loadPod)
	}, SpecTimeout(specTime))

	It("removes the CA of an issuer with deletionPolicy Delete", func(ctx SpecContext) {
		apply(ctx, issuer("tenant", "Delete"))
		kubectl(ctx, "wait", "--for=condition=Ready", "--namespace=tenant", "acmeissuer/tenant", "--timeout="+patience.String())
		Expect(kubectl(ctx, "get", "secrets", "--namespace=tenant", "--output=name")).NotTo(BeEmpty())
		kubectl(ctx, "delete", "acmeissuer", "--namespace=tenant", "tenant", "--timeout="+patience.String())
		Eventually(ctx, gone(ctx, "secrets", "--namespace=tenant")).WithTimeout(patience).WithPolling(interval).Should(Succeed())
	}, SpecTimeout(specTime))

	It("lets a namespace go that has an issuer with orders", func(ctx SpecContext) {
		apply(ctx, issuer("tenant", "Retain"))
		kubectl(ctx, "wait", "--for=condition=Ready", "--namespace=tenant", "acmeissuer/tenant", "--timeout="+patience.String())
		Expect(c.StartClient(ctx, "tenant", "load", "-n=2", "-directory=https://acmeca."+namespace+".svc/tenant/tenant/acme/directory")).To(Succeed())
		kubectl(ctx, "wait", "--for=jsonpath={.status.phase}=Succeeded", "--namespace=client", "pod/tenant", "--timeout="+patience.String())
		start := time.Now()
		kubectl(ctx, "delete", "namespace", "tenant", "--timeout="+patience.String())
		AddReportEntry("deletion of a namespace with an issuer", fmt.Sprintf("%.1f s", time.Since(start).Seconds()))
	}, SpecTimeout(specTime))

	It("is uninstalled as the guide says, and its namespace goes", func(ctx SpecContext) {
		commands := strings.SplitAfter(strings.TrimSpace(guide.Commands(guide.Section(installGuide, "Removing acmeca"))), "\n")
		Expect(commands).To(HaveLen(3))
		shell.Run(ctx, commands[0]+commands[1])
		Expect(kubectl(ctx, "get", "customresourcedefinitions", "--output=name")).To(ContainSubstring("acmeissuers.acmeca.dev"))
		Expect(kubectl(ctx, "get", "secrets", "--namespace", namespace, "--output=name")).To(ContainSubstring("secret/default-"))
		start := time.Now()
		shell.Run(ctx, commands[2])
		AddReportEntry("deletion of the namespace after helm uninstall", fmt.Sprintf("%.1f s", time.Since(start).Seconds()))
		deleteKinds(ctx)
	}, SpecTimeout(specTime))
})

func outside(ctx context.Context) func(...string) (string, error) {
	return func(args ...string) (string, error) {
		output, err := c.OutsideCommand(ctx, append([]string{"acmeca-client"}, args...)...).Output()
		return string(output), err
	}
}

func inside(ctx context.Context, node *cluster.Node, container string) func(...string) (string, error) {
	return func(args ...string) (string, error) {
		return node.InContainer(ctx, container, "acmeca-client", args...)
	}
}

// killLeader kills the active controllers and waits until another replica is the leader.
func killLeader(ctx context.Context) {
	GinkgoHelper()
	holder := func() string {
		return kubectl(ctx, "get", "lease", "--namespace", namespace, "controller.acmeca.dev", "--output=jsonpath={.spec.holderIdentity}")
	}
	before := holder()
	start := time.Now()
	for _, pod := range pods(ctx, "controller") {
		if len(before) > len(pod.Name) && before[:len(pod.Name)] == pod.Name {
			node, container := containerOf(pod)
			Expect(node.KillContainer(ctx, container)).To(Succeed())
		}
	}
	Eventually(ctx, holder).WithTimeout(patience).WithPolling(interval).ShouldNot(Equal(before))
	AddReportEntry("until another replica leads", fmt.Sprintf("%.1f s", time.Since(start).Seconds()))
}

// issuer returns the manifests of a namespace with an issuer of the same name.
func issuer(name, deletionPolicy string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Namespace
metadata: {name: %[1]s}
---
apiVersion: acmeca.dev/v1alpha1
kind: AcmeIssuer
metadata: {name: %[1]s, namespace: %[1]s}
spec:
  ca: {selfSigned: {commonName: Tenant CA}}
  policy: {dns: {allow: [corp.example]}}
  deletionPolicy: %[2]s
`, name, deletionPolicy)
}
