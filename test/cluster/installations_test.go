package cluster

import (
	"context"
	"os/exec"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/internal/test/cluster"
	"github.com/acmeca/acmeca/internal/test/project"
)

var _ = Describe("Installations", Ordered, func() {
	It("by kustomize run in their namespace, which enforces restricted, and are removed", func(ctx SpecContext) {
		makeTarget(ctx, "deploy")
		Expect(kubectl(ctx, "get", "namespace", namespace, "--output=jsonpath={.metadata.labels}")).To(
			ContainSubstring(`"pod-security.kubernetes.io/enforce":"restricted"`))
		Expect(c.CreateIssuer(ctx)).To(Succeed())
		Expect(c.PrepareClient(ctx)).To(Succeed())
		_, err := c.FirstCertificate(ctx)
		Expect(err).NotTo(HaveOccurred())
		rollout(ctx)
		makeTarget(ctx, "undeploy")
		Eventually(ctx, gone(ctx, "namespace", namespace)).WithTimeout(patience).WithPolling(interval).Should(Succeed())
		Expect(kubectl(ctx, "get", "customresourcedefinitions", "--output=name")).NotTo(ContainSubstring("acmeca.dev"))
	}, SpecTimeout(specTime))

	It("in two namespaces issue side by side", func(ctx SpecContext) {
		const second = "acmeca-second"
		for _, team := range []string{"team-a", "team-b"} { // whose RoleBindings the chart contains
			kubectl(ctx, "create", "namespace", team)
		}
		By("waiting for ready Pods without an issuer")
		helm(ctx, append([]string{"install"}, cluster.InstallArgs("--create-namespace", "--set", "watchNamespaces={team-a}", "--wait")...)...)
		Expect(c.CreateIssuer(ctx)).To(Succeed())
		Expect(c.PrepareClient(ctx)).To(Succeed())
		helm(ctx, "install", "second", "charts/acmeca", "--namespace", second, "--create-namespace", "--set", "crds.enabled=false",
			"--set", "image.repository="+cluster.Repository, "--set", "image.tag="+cluster.Tag, "--set", "watchNamespaces={team-b}")
		apply(ctx, `
apiVersion: acmeca.dev/v1alpha1
kind: AcmeIssuer
metadata: {name: default, namespace: acmeca-second}
spec:
  ca: {selfSigned: {commonName: Second CA}}
  policy: {dns: {allow: [corp.example]}}
`)
		kubectl(ctx, "wait", "--for=condition=Ready", "--namespace", second, "acmeissuer/default", "--timeout="+patience.String())
		for _, installed := range []struct{ namespace, service string }{{second, "second-acmeca"}, {namespace, "acmeca"}} {
			Expect(c.PublishRoots(ctx, installed.namespace)).To(Succeed())
			_, err := c.FirstCertificate(ctx, "-directory=https://"+installed.service+"."+installed.namespace+".svc/acme/directory")
			Expect(err).NotTo(HaveOccurred(), installed.namespace)
		}
		kubectl(ctx, "delete", "acmeissuers", "--all", "--all-namespaces", "--timeout="+patience.String())
		helm(ctx, "uninstall", "second", "--namespace", second, "--wait")
		helm(ctx, "uninstall", "acmeca", "--namespace", namespace, "--wait")
		kubectl(ctx, "delete", "namespace", second, namespace, "--timeout="+patience.String())
		deleteKinds(ctx)
	}, SpecTimeout(specTime))
})

// makeTarget runs a target of the Makefile for the cluster.
func makeTarget(ctx context.Context, target string) {
	GinkgoHelper()
	root, err := project.Root()
	Expect(err).NotTo(HaveOccurred())
	cmd := exec.CommandContext(ctx, "make", "-C", root, target, "IMG="+cluster.Repository+":"+cluster.Tag,
		"KUBECTL="+filepath.Join(root, "bin", "kubectl")+" --kubeconfig="+c.Kubeconfig())
	output, err := cmd.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(output))
}

// uninstall removes an installation by Helm, with its issuers and kinds.
func uninstall(ctx context.Context) {
	GinkgoHelper()
	kubectl(ctx, "delete", "acmeissuers", "--all", "--all-namespaces", "--timeout="+patience.String())
	helm(ctx, "uninstall", "acmeca", "--namespace", namespace, "--wait", "--timeout="+patience.String())
	kubectl(ctx, "delete", "namespace", namespace, "--timeout="+patience.String())
	deleteKinds(ctx)
}

// deleteKinds removes the kinds, which Helm keeps.
func deleteKinds(ctx context.Context) {
	GinkgoHelper()
	for _, kind := range []string{"acmeorders", "acmeauthorizations", "acmeaccounts", "acmeissuers"} {
		kubectl(ctx, "delete", "customresourcedefinition", kind+".acmeca.dev", "--timeout="+patience.String())
	}
}
