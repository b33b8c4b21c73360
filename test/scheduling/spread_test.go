package scheduling

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/acmeca/acmeca/internal/test/binaries"
	"github.com/acmeca/acmeca/internal/test/controlplane"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/internal/test/project"
	"github.com/acmeca/acmeca/test/internal/programs"
)

// rounds is the number of times that the Pods of a Deployment are placed. Three Pods that are placed by chance are on three of four
// nodes in 3 rounds of 8.
const rounds = 5

var _ = Describe("acmeca's Pods", Ordered, func() {
	var cluster *kubernetes.Clientset
	BeforeAll(func(ctx SpecContext) {
		dir := GinkgoT().TempDir()
		plane, err := controlplane.Start(ctx, controlplane.Options{Dir: dir, UnsafeNoFsync: true})
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(plane.Stop)
		stop, err := plane.StartScheduler()
		if err != nil {
			programs.Lack(err.Error())
		}
		DeferCleanup(stop)
		cluster, err = kubernetes.NewForConfig(plane.Config())
		Expect(err).NotTo(HaveOccurred())
		install(ctx, plane, filepath.Join(dir, "kubeconfig"))
	})

	DescribeTable("are on nodes of their own", func(ctx SpecContext, zones [4]string) {
		for i, zone := range zones {
			addNode(ctx, cluster, fmt.Sprintf("node%d", i), zone)
		}
		DeferCleanup(func(ctx SpecContext) {
			Expect(cluster.CoreV1().Nodes().DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})).To(Succeed())
		})
		zoneOf := map[string]string{}
		for i, zone := range zones {
			zoneOf[fmt.Sprintf("node%d", i)] = zone
		}
		for _, name := range []string{"acmeca-controller", "acmeca-server"} {
			deployment, err := cluster.AppsV1().Deployments(local.Namespace).Get(ctx, name, metav1.GetOptions{})
			Expect(err).NotTo(HaveOccurred())
			for round := range rounds {
				nodes, used := map[string]bool{}, map[string]bool{}
				for _, node := range place(ctx, cluster, deployment, round) {
					nodes[node], used[zoneOf[node]] = true, true
				}
				Expect(nodes).To(HaveLen(int(*deployment.Spec.Replicas)), "%s in round %d", name, round)
				if zones[0] != "" && zones[3] != "" {
					Expect(used).To(HaveLen(2), "%s in round %d: the zones of %v", name, round, nodes)
				}
			}
		}
	},
		Entry("without zones", [4]string{}),
		Entry("and in both zones", [4]string{"a", "a", "b", "b"}),
		Entry("where half of the nodes have a zone", [4]string{"a", "b", "", ""}),
		Entry("where one node has a zone", [4]string{"a", "", "", ""}),
	)
})

// install applies config/default. No controllers run, so its Deployments have no Pods.
func install(ctx context.Context, plane *controlplane.Plane, kubeconfig string) {
	GinkgoHelper()
	Expect(plane.WriteKubeconfig(kubeconfig)).To(Succeed())
	assets, err := binaries.Find("kubectl")
	Expect(err).NotTo(HaveOccurred())
	root, err := project.Root()
	Expect(err).NotTo(HaveOccurred())
	cmd := exec.CommandContext(ctx, filepath.Join(assets, "kubectl"), "--kubeconfig", kubeconfig, "apply", "--server-side", "-k", filepath.Join(root, "config", "default"))
	output, err := cmd.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "%s", output)
}

// addNode adds a node that is ready, and so large that its free resources don't count.
func addNode(ctx context.Context, cluster *kubernetes.Clientset, name, zone string) {
	GinkgoHelper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name}}}
	if zone != "" {
		node.Labels[corev1.LabelTopologyZone] = zone
	}
	node, err := cluster.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	Expect(err).NotTo(HaveOccurred())
	size := corev1.ResourceList{"cpu": resource.MustParse("1000"), "memory": resource.MustParse("4Ti"), "pods": resource.MustParse("1000")}
	node.Status.Capacity, node.Status.Allocatable = size, size
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	node, err = cluster.CoreV1().Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{})
	Expect(err).NotTo(HaveOccurred())
	node.Spec.Taints = nil // admission has added not-ready
	_, err = cluster.CoreV1().Nodes().Update(ctx, node, metav1.UpdateOptions{})
	Expect(err).NotTo(HaveOccurred())
}

// place creates the Pods of a Deployment as a ReplicaSet does, returns their nodes, and removes the Pods.
func place(ctx context.Context, cluster *kubernetes.Clientset, deployment *appsv1.Deployment, round int) []string {
	GinkgoHelper()
	pods := cluster.CoreV1().Pods(deployment.Namespace)
	for i := range *deployment.Spec.Replicas {
		pod := &corev1.Pod{ObjectMeta: *deployment.Spec.Template.ObjectMeta.DeepCopy(), Spec: *deployment.Spec.Template.Spec.DeepCopy()}
		pod.Name = fmt.Sprintf("%s-%d-%d", deployment.Name, round, i)
		pod.Labels[appsv1.DefaultDeploymentUniqueLabelKey] = fmt.Sprint(round)
		_, err := pods.Create(ctx, pod, metav1.CreateOptions{})
		Expect(err).NotTo(HaveOccurred())
	}
	var nodes []string
	Eventually(ctx, func(g Gomega) {
		list, err := pods.List(ctx, metav1.ListOptions{})
		g.Expect(err).NotTo(HaveOccurred())
		nodes = nil
		for _, pod := range list.Items {
			g.Expect(pod.Spec.NodeName).NotTo(BeEmpty(), "%s: %v", pod.Name, pod.Status.Conditions)
			nodes = append(nodes, pod.Spec.NodeName)
		}
	}, time.Minute).Should(Succeed())
	now := int64(0)
	Expect(pods.DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{})).To(Succeed())
	return nodes
}
