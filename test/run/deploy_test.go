package run

import (
	"context"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/binaries"
	"github.com/acmeca/acmeca/internal/test/controlplane"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/internal/test/project"
	"github.com/acmeca/acmeca/test/internal/programs"
)

var _ = Describe("installing into a cluster", Ordered, func() {
	var (
		plane    *controlplane.Plane
		cluster  *kubernetes.Clientset
		kubectl  []string                                           // with its first arguments
		deployed string                                             // the kustomization that make deploy applies
		run      func(ctx context.Context, target ...string) string // make
	)
	BeforeAll(func(ctx SpecContext) {
		var err error
		plane, err = controlplane.Start(ctx, controlplane.Options{Dir: GinkgoT().TempDir(), UnsafeNoFsync: true})
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(plane.Stop)
		cluster, err = kubernetes.NewForConfig(plane.Config())
		Expect(err).NotTo(HaveOccurred())
		kubeconfig := filepath.Join(GinkgoT().TempDir(), "kubeconfig")
		Expect(plane.WriteKubeconfig(kubeconfig)).To(Succeed())
		assets, err := binaries.Find("kubectl")
		Expect(err).NotTo(HaveOccurred())
		root, err := project.Root()
		Expect(err).NotTo(HaveOccurred())
		kubectl = []string{filepath.Join(assets, "kubectl"), "--kubeconfig", kubeconfig}
		deployed = filepath.Join(root, ".local", "deploy")
		run = func(ctx context.Context, target ...string) string {
			GinkgoHelper()
			cmd := exec.CommandContext(ctx, "make", append([]string{"-s", "KUBECTL=" + strings.Join(kubectl, " ")}, target...)...)
			cmd.Dir = root
			output, err := cmd.CombinedOutput()
			Expect(err).NotTo(HaveOccurred(), "%s", output)
			return string(output)
		}
	})
	kinds := func() (*metav1.APIResourceList, error) {
		return cluster.Discovery().ServerResourcesForGroupVersion("acmeca.dev/v1alpha1")
	}

	It("make install and make uninstall add and remove the kinds, repeatedly", func(ctx SpecContext) {
		for range 3 {
			run(ctx, "install")
			Eventually(ctx, kinds).Should(HaveField("APIResources", Not(BeEmpty())))
			run(ctx, "uninstall")
			Eventually(ctx, func() error { _, err := kinds(); return err }).Should(Satisfy(apierrors.IsNotFound))
		}
	}, SpecTimeout(5*time.Minute))

	It("make deploy runs the image that IMG names, without a warning from the API server", func(ctx SpecContext) {
		Expect(run(ctx, "deploy", "IMG=registry.example:5000/acmeca:v1")).NotTo(ContainSubstring("Warning"))
		for _, name := range []string{"acmeca-controller", "acmeca-server"} {
			deployment, err := cluster.AppsV1().Deployments(local.Namespace).Get(ctx, name, metav1.GetOptions{})
			Expect(err).NotTo(HaveOccurred())
			Expect(images(deployment)).To(ConsistOf("registry.example:5000/acmeca:v1"))
		}
	}, SpecTimeout(5*time.Minute))

	It("make undeploy removes everything", func(ctx SpecContext) {
		stop, err := plane.StartControllers(controlplane.GarbageCollector, controlplane.NamespaceController)
		if err != nil {
			programs.Lack(err.Error())
		}
		DeferCleanup(stop)
		left := func() []string {
			GinkgoHelper()
			output, err := exec.CommandContext(ctx, kubectl[0], slices.Concat(kubectl[1:], []string{"get", "--ignore-not-found", "--output", "name", "-k", deployed})...).CombinedOutput()
			Expect(err).NotTo(HaveOccurred(), "%s", output)
			return strings.Fields(string(output))
		}
		Expect(len(left())).To(BeNumerically(">", 20))
		storeOrders(ctx, plane, 1000)
		run(ctx, "undeploy", "IMG=registry.example:5000/acmeca:v1")
		Expect(left()).To(BeEmpty())
	}, SpecTimeout(5*time.Minute))
})

// storeOrders stores orders. kubectl would wait for each of them for half a second.
func storeOrders(ctx context.Context, plane *controlplane.Plane, count int) {
	GinkgoHelper()
	scheme := runtime.NewScheme()
	Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	config := plane.Config()
	config.QPS = -1 // no limit
	c, err := client.New(config, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	for range count {
		order := &v1alpha1.AcmeOrder{}
		order.Namespace, order.Name = local.Namespace, v1alpha1.NewObjectName(time.Now())
		order.Spec.IssuerRef.Name, order.Spec.AccountRef.Name, order.Spec.Authorizations = "default", "none", []string{"none"}
		order.Spec.Identifiers = []v1alpha1.Identifier{{Type: acme.DNS, Value: "a.test"}}
		Expect(c.Create(ctx, order)).To(Succeed())
	}
}

func images(deployment *appsv1.Deployment) []string {
	var names []string
	for _, container := range deployment.Spec.Template.Spec.Containers {
		names = append(names, container.Image)
	}
	return names
}
