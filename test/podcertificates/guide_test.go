package podcertificates

import (
	"context"
	"math/big"
	"os"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/binaries"
	"github.com/acmeca/acmeca/internal/test/controlplane"
	"github.com/acmeca/acmeca/test/internal/guide"
)

const guideFile = "pod-certificates.md"

// newShell returns a shell of a person with every right, with this tree's plugin.
func newShell(ctx context.Context) *guide.Shell {
	GinkgoHelper()
	assets, err := binaries.Find("kubectl")
	Expect(err).NotTo(HaveOccurred())
	dir := GinkgoT().TempDir()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	Expect(plane.WriteKubeconfig(kubeconfig)).To(Succeed())
	shell := &guide.Shell{Environment: []string{"KUBECONFIG=" + kubeconfig, "PATH=" + dir + ":" + assets + ":" + os.Getenv("PATH")}}
	shell.Run(ctx, "go build -o "+filepath.Join(dir, "kubectl-acme")+" ./cmd/kubectl-acme")
	return shell
}

// apply applies the objects of a guide's section.
func apply(ctx context.Context, heading string) {
	GinkgoHelper()
	objects, err := controlplane.ParseManifests([]byte(guide.File(guide.Section(guideFile, heading), "yaml")))
	Expect(err).NotTo(HaveOccurred())
	Expect(plane.Apply(ctx, objects...)).To(Succeed())
}

// onNode binds a Pod to the node, as the scheduler does.
func onNode(ctx context.Context, pod *corev1.Pod) {
	GinkgoHelper()
	Expect(admin.SubResource("binding").Create(ctx, pod, &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: nodeName}})).To(Succeed())
	Expect(admin.Get(ctx, client.ObjectKeyFromObject(pod), pod)).To(Succeed())
}

var _ = Describe("The guide", func() {
	It("has manifests and commands that work in order", func(ctx SpecContext) {
		shell := newShell(ctx)
		run := func(heading string) string { return shell.Run(ctx, guide.Commands(guide.Section(guideFile, heading))) }
		shell.Run(ctx, "kubectl create namespace shop; kubectl create serviceaccount web -n shop; kubectl create namespace elsewhere")
		w := &world{pki: "acmeca-system", shop: "shop", name: "mesh"}
		w.start()
		apply(ctx, "Say which Pods get which names")
		Expect(run("Say which Pods get which names")).To(And(ContainSubstring("PodCertificates"), ContainSubstring("Served")))

		apply(ctx, "Mount it")
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}}
		onNode(ctx, pod)
		volume := pod.Spec.Volumes[0].Projected.Sources[0].PodCertificate
		request := w.ask(ctx, pod, newKey(), func(r *certificatesv1.PodCertificateRequest) { r.Spec.SignerName = volume.SignerName })
		leaf := expectIssued(ctx, request)
		Expect(leaf.URIs).To(HaveLen(1))
		Expect(leaf.URIs[0].String()).To(Equal("spiffe://prod.example/ns/shop/sa/web"))

		Expect(run("When a Pod gets none")).To(And(ContainSubstring("Pod web is valid"), ContainSubstring(`by rule "shop"`)))
		shown := run("Records and revocation")
		Expect(shown).To(And(ContainSubstring("shop/web, ServiceAccount web, rule shop"), ContainSubstring(leaf.URIs[0].String())))
		records := w.records(ctx, "web")
		Expect(records).To(HaveLen(1))
		Eventually(ctx, func() []*big.Int { return w.revoked(ctx, records[0].Status.CRL) }).WithTimeout(patience).Should(ContainElement(leaf.SerialNumber))
		Expect(run("When a Pod gets none")).To(And(ContainSubstring("Pod web is revoked"), ContainSubstring("Delete the Pod")))
		Expect(guide.Headings(guideFile)).To(ConsistOf("Say which Pods get which names", "Mount it into all Pods of a namespace",
			"When a Pod gets none", "Records and revocation"))
	})

	It("mounts certificate and roots into the Pods of labelled namespaces alone", func(ctx SpecContext) {
		shell := newShell(ctx)
		shell.Run(ctx, "kubectl create namespace shop --dry-run=client -o yaml | kubectl apply -f -; kubectl create namespace plain")
		shell.Run(ctx, guide.Commands(guide.Section(guideFile, "Mount it into all Pods of a namespace")))
		created := func(namespace string, edit ...func(*corev1.Pod)) *corev1.Pod {
			GinkgoHelper()
			account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "front"}}
			Expect(client.IgnoreAlreadyExists(admin.Create(ctx, account))).To(Succeed())
			off := false
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "probe"}, Spec: corev1.PodSpec{
				ServiceAccountName: "front", AutomountServiceAccountToken: &off,
				Containers: []corev1.Container{{Name: "one", Image: "web"}, {Name: "two", Image: "web", VolumeMounts: []corev1.VolumeMount{{Name: "own", MountPath: "/own"}}}},
				Volumes:    []corev1.Volume{{Name: "own"}},
			}}
			for _, e := range edit {
				e(pod)
			}
			Expect(admin.Create(ctx, pod, client.DryRunAll)).To(Succeed())
			return pod
		}
		Eventually(ctx, func() []corev1.Volume { return created("shop").Spec.Volumes }).WithTimeout(patience).Should(HaveLen(2))
		expectMounted(created("shop"), "acmeca-tls")
		bare := created("shop", func(p *corev1.Pod) {
			p.Spec.Volumes, p.Spec.Containers = nil, p.Spec.Containers[:1]
			p.Spec.InitContainers = []corev1.Container{{Name: "first", Image: "web"}}
		})
		expectMounted(bare, "acmeca-tls")
		none := func(p *corev1.Pod) { p.Labels = map[string]string{"acmeca.dev/pod-certificates": "none"} }
		Expect(created("shop", none).Spec.Volumes).To(HaveLen(1))
		Expect(created("plain").Spec.Volumes).To(HaveLen(1))
		Expect(created("plain").Spec.Containers[0].VolumeMounts).To(BeEmpty())
		shell.Run(ctx, "kubectl delete -f config/samples/pod-certificates/mount.yaml; kubectl label namespace shop acmeca.dev/pod-certificates-")
	})

	It("has the Pod of the samples", func() {
		text, err := os.ReadFile("../../config/samples/pod-certificates/pod.yaml")
		Expect(err).NotTo(HaveOccurred())
		sample, err := controlplane.ParseManifests(text)
		Expect(err).NotTo(HaveOccurred())
		inGuide, err := controlplane.ParseManifests([]byte(guide.File(guide.Section(guideFile, "Mount it"), "yaml")))
		Expect(err).NotTo(HaveOccurred())
		Expect(sample).To(Equal(inGuide))
	})
})

// expectMounted expects a volume with certificate and roots in every container of a Pod.
func expectMounted(pod *corev1.Pod, name string) {
	GinkgoHelper()
	volume := pod.Spec.Volumes[len(pod.Spec.Volumes)-1]
	Expect(volume.Name).To(Equal(name))
	sources := volume.Projected.Sources
	Expect(sources).To(HaveLen(2))
	Expect(sources[0].PodCertificate.SignerName).To(Equal(v1alpha1.PodSigner("acmeca-system", "mesh")))
	Expect(*sources[1].ClusterTrustBundle.SignerName).To(Equal(v1alpha1.PodSigner("acmeca-system", "mesh")))
	Expect(sources[1].ClusterTrustBundle.LabelSelector).NotTo(BeNil(), "a bundle without a selector selects nothing")
	for _, container := range append(pod.Spec.InitContainers, pod.Spec.Containers...) {
		Expect(container.VolumeMounts).To(ContainElement(corev1.VolumeMount{Name: name, MountPath: "/run/tls", ReadOnly: true}), container.Name)
	}
}
