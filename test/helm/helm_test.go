package helm

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/acmeca/acmeca/internal/test/binaries"
	"github.com/acmeca/acmeca/internal/test/controlplane"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/internal/test/project"
	"github.com/acmeca/acmeca/test/internal/programs"
)

// Helm 4 applies a new release on the server, and Helm 3 merges on the client.
var _ = Describe("the chart", Ordered, func() {
	var (
		cluster *kubernetes.Clientset
		env     []string
		chart   string
	)
	BeforeAll(func(ctx SpecContext) {
		dir := GinkgoT().TempDir()
		plane, err := controlplane.Start(ctx, controlplane.Options{Dir: dir, UnsafeNoFsync: true})
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(plane.Stop)
		cluster, err = kubernetes.NewForConfig(plane.Config())
		Expect(err).NotTo(HaveOccurred())
		kubeconfig := filepath.Join(dir, "kubeconfig")
		Expect(plane.WriteKubeconfig(kubeconfig)).To(Succeed())
		env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "HOME="+dir)
		root, err := project.Root()
		Expect(err).NotTo(HaveOccurred())
		chart = filepath.Join(root, "charts", "acmeca")
	})
	run := func(ctx context.Context, program string, args ...string) string {
		GinkgoHelper()
		path, err := binaries.Path(program)
		if err != nil {
			programs.Lack(err.Error())
		}
		cmd := exec.CommandContext(ctx, path, append(args, "--namespace", local.Namespace)...)
		cmd.Env = env
		output, err := cmd.CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), "%s %s: %s", program, strings.Join(args, " "), output)
		return string(output)
	}
	server := func(ctx context.Context) *appsv1.Deployment {
		GinkgoHelper()
		deployment, err := cluster.AppsV1().Deployments(local.Namespace).Get(ctx, "acmeca-server", metav1.GetOptions{})
		Expect(err).NotTo(HaveOccurred())
		return deployment
	}
	kinds := func() error {
		_, err := cluster.Discovery().ServerResourcesForGroupVersion("acmeca.dev/v1alpha1")
		return err
	}

	DescribeTable("is installed, upgraded, rolled back, removed, and installed again over the kinds that stay",
		func(ctx SpecContext, first, then string) {
			for range 2 {
				output := run(ctx, first, "install", "acmeca", chart, "--create-namespace")
				Expect(output).NotTo(ContainSubstring("Warning"))
				Expect(*server(ctx).Spec.Replicas).To(BeEquivalentTo(3))

				By("an upgrade without a change, which replaces no Pod")
				generation := server(ctx).Generation
				run(ctx, then, "upgrade", "acmeca", chart)
				Expect(server(ctx).Generation).To(Equal(generation))

				By("an upgrade with other values")
				run(ctx, then, "upgrade", "acmeca", chart, "--set", "server.replicas=5", "--set", "networkPolicy.apiServerPorts={8443}")
				Expect(*server(ctx).Spec.Replicas).To(BeEquivalentTo(5))
				policy, err := cluster.NetworkingV1().NetworkPolicies(local.Namespace).Get(ctx, "acmeca-server", metav1.GetOptions{})
				Expect(err).NotTo(HaveOccurred())
				Expect(policy.Spec.Egress[0].Ports).To(HaveExactElements(HaveField("Port.IntVal", BeEquivalentTo(8443))))

				run(ctx, then, "rollback", "acmeca", "1")
				Expect(*server(ctx).Spec.Replicas).To(BeEquivalentTo(3))
				Expect(server(ctx).Spec.Template.Spec.Containers).To(HaveLen(1))

				run(ctx, then, "uninstall", "acmeca")
				_, err = cluster.AppsV1().Deployments(local.Namespace).Get(ctx, "acmeca-server", metav1.GetOptions{})
				Expect(err).To(Satisfy(apierrors.IsNotFound))
				Expect(kinds()).To(Succeed())
			}
		},
		Entry("with Helm 4", "helm", "helm", SpecTimeout(5*time.Minute)),
		Entry("with Helm 3", "helm3", "helm3", SpecTimeout(5*time.Minute)),
		Entry("with Helm 4 after Helm 3", "helm3", "helm", SpecTimeout(5*time.Minute)),
	)

	DescribeTable("creates the first issuer once, if it is asked to",
		func(ctx SpecContext, program string) {
			issuers := cluster.RESTClient().Get().AbsPath("/apis/acmeca.dev/v1alpha1/namespaces/" + local.Namespace + "/acmeissuers/default")
			values := []string{"--set", "issuer.create=true", "--set", "issuer.spec.policy.dns.allow={corp.example}"}
			run(ctx, program, append([]string{"install", "acmeca", chart, "--create-namespace"}, values...)...)
			created, err := issuers.DoRaw(ctx)
			Expect(err).NotTo(HaveOccurred())
			Expect(string(created)).To(And(ContainSubstring("corp.example"), ContainSubstring("Corp Internal CA")))
			run(ctx, program, append([]string{"upgrade", "acmeca", chart}, values...)...)
			run(ctx, program, "uninstall", "acmeca")

			By("leaving an issuer alone that exists")
			run(ctx, program, append([]string{"install", "acmeca", chart, "--create-namespace"}, values...)...)
			run(ctx, program, "uninstall", "acmeca")
			Expect(issuers.DoRaw(ctx)).To(Equal(created))
			Expect(cluster.RESTClient().Delete().AbsPath("/apis/acmeca.dev/v1alpha1/namespaces/" + local.Namespace + "/acmeissuers/default").Do(ctx).Error()).To(Succeed())
		},
		Entry("with Helm 4", "helm", SpecTimeout(5*time.Minute)),
		Entry("with Helm 3", "helm3", SpecTimeout(5*time.Minute)),
	)

	DescribeTable("keeps a change of another author that an upgrade doesn't concern",
		func(ctx SpecContext, program string) {
			run(ctx, program, "install", "acmeca", chart, "--create-namespace")
			DeferCleanup(func(ctx SpecContext) { run(ctx, program, "uninstall", "acmeca") })
			patch := []byte(`{"metadata":{"annotations":{"corp.example/note":"mine"}},"spec":{"template":{"metadata":{"annotations":{"corp.example/restarted":"now"}}}}}`)
			_, err := cluster.AppsV1().Deployments(local.Namespace).Patch(ctx, "acmeca-server", "application/merge-patch+json", patch, metav1.PatchOptions{FieldManager: "person"})
			Expect(err).NotTo(HaveOccurred())
			run(ctx, program, "upgrade", "acmeca", chart, "--set", "server.replicas=5")
			Expect(server(ctx).Annotations).To(HaveKey("corp.example/note"))
			Expect(server(ctx).Spec.Template.Annotations).To(HaveKey("corp.example/restarted"))
			Expect(*server(ctx).Spec.Replicas).To(BeEquivalentTo(5))
		},
		Entry("with Helm 4", "helm", SpecTimeout(5*time.Minute)),
		Entry("with Helm 3", "helm3", SpecTimeout(5*time.Minute)),
	)
})
