package install

import (
	"os"
	"path/filepath"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/test/internal/suite"
)

// watching has rights in two namespaces only.
const watching = `
resources: [ROOT/config/default, watched/acmeca-system, watched/team-a]
components: [ROOT/config/watch-namespaces]
patches:
- target: {kind: Deployment}
  patch: |
    - op: add
      path: /spec/template/spec/containers/0/args/-
      value: --watch-namespaces=acmeca-system,team-a
- target: {kind: ValidatingAdmissionPolicyBinding}
  patch: |
    - op: add
      path: /spec/matchResources
      value:
        namespaceSelector:
          matchExpressions:
          - {key: kubernetes.io/metadata.name, operator: In, values: [acmeca-system, team-a]}
`

// watchingOverlay renders the overlay with rights in some namespaces, which it creates.
func watchingOverlay(ctx SpecContext) *installation {
	GinkgoHelper()
	dir := GinkgoT().TempDir()
	for _, namespace := range []string{"acmeca-system", "team-a"} {
		watched := filepath.Join(dir, "watched", namespace)
		Expect(os.MkdirAll(watched, 0o700)).To(Succeed())
		relative, err := filepath.Rel(watched, root)
		Expect(err).NotTo(HaveOccurred())
		text := "namespace: " + namespace + "\nresources: [" + relative + "/config/watched-namespace]\n"
		Expect(os.WriteFile(filepath.Join(watched, "kustomization.yaml"), []byte(text), 0o600)).To(Succeed())
	}
	for _, namespace := range []string{"acmeca-system", "team-a", "team-b"} {
		Expect(client.IgnoreAlreadyExists(person.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}))).To(Succeed())
	}
	return newInstallation(ctx, dir, "acmeca-system", watching)
}

func watchingInstallation() {
	var i *installation
	BeforeAll(func(ctx SpecContext) { i = watchingOverlay(ctx) })

	It("is refused at the start by an older one that watches all namespaces, and named", func(ctx SpecContext) {
		kubectl(ctx, "apply", "--server-side", "--force-conflicts", "-k", i.dir)
		refused := i.startControllers(ctx, "refused", i.ports.ControllerHealth)
		Eventually(ctx, refused.Done()).Should(BeClosed())
		Expect(refused.LogTail(20)).To(And(ContainSubstring("the installation with the ServiceAccount pki/corp-acmeca-controller works on the namespaces acmeca-system, team-a already"), ContainSubstring("corp-controllers.acmeca.dev")))
	}, SpecTimeout(5*time.Minute))

	It("serves issuers in these namespaces, and needs no right elsewhere, beside one for other namespaces", func(ctx SpecContext) {
		kubectl(ctx, "patch", "validatingadmissionpolicybinding", "corp-controllers.acmeca.dev", "--type=merge", "-p",
			`{"spec": {"matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "pki"}}}}}`)
		responder := suite.Respond(i.ports.HTTP01)

		i.startControllers(ctx, "watching-controllers", i.ports.ControllerHealth)
		theirs, others := client.ObjectKey{Namespace: "team-a", Name: "ca"}, client.ObjectKey{Namespace: "team-b", Name: "ca"}
		for _, issuer := range []client.ObjectKey{others, i.issuer, theirs} {
			i.applyIssuer(ctx, issuer, nil)
		}
		i.awaitIssuer(ctx, i.issuer)
		i.awaitIssuer(ctx, theirs)
		i.startServer(ctx)
		obtain(ctx, i.client(ctx, i.issuer), responder)
		obtain(ctx, i.client(ctx, theirs), responder)

		first.dir, first.running = GinkgoT().TempDir(), nil
		DeferCleanup(first.stop)
		first.start(ctx, "controller", "beside-controllers", "--watch-namespaces=pki", "--health-listen="+first.address(first.ports.ControllerHealth))
		first.awaitIssuer(ctx, first.issuer)
		first.startServer(ctx)
		obtain(ctx, first.client(ctx, first.issuer), suite.Respond(first.ports.HTTP01))
		obtain(ctx, i.client(ctx, i.issuer), responder)

		ignored := &v1alpha1.AcmeIssuer{}
		Expect(person.Get(ctx, others, ignored)).To(Succeed())
		Expect(ignored.Status.Conditions).To(BeEmpty())
		Expect(i.directoryStatus(ctx, others)).To(Equal(404))
		for _, component := range []string{"controller", "server"} {
			config, err := plane.ServiceAccountConfig(ctx, i.namespace, i.serviceAccount(component))
			Expect(err).NotTo(HaveOccurred())
			c, err := client.New(config, client.Options{Scheme: person.Scheme()})
			Expect(err).NotTo(HaveOccurred())
			Expect(c.List(ctx, &v1alpha1.AcmeOrderList{}, client.InNamespace("team-a"))).To(Succeed())
			Expect(apierrors.IsForbidden(c.List(ctx, &v1alpha1.AcmeOrderList{}, client.InNamespace("team-b")))).To(BeTrue())
			Expect(apierrors.IsForbidden(c.Get(ctx, client.ObjectKey{Namespace: "team-b", Name: "ca-root"}, &corev1.Secret{}))).To(BeTrue())
		}
	}, SpecTimeout(5*time.Minute))
}
