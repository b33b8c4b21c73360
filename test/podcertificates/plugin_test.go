package podcertificates

import (
	"regexp"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/yaml"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

var _ = Describe("kubectl acme", func() {
	It("prints a rule that covers a denied Pod", func(ctx SpecContext) {
		w := newWorld(ctx, func(s *v1alpha1.AcmeIssuerSpec) {
			s.PodCertificates = rule(func(r *v1alpha1.PodCertificateRule) { r.NamespaceSelector.MatchLabels["mesh"] = "off" })
		})
		w.service(ctx, "web")
		pod := w.pod(ctx, "web-0")
		expectDenied(ctx, w.ask(ctx, pod, newKey()))
		said := newShell(ctx).Run(ctx, "kubectl acme why pod/web-0 -n "+w.shop)
		Expect(said).To(MatchRegexp(`^Pod web-0 is denied: .* \(NotCovered\): no rule of AcmeIssuer %s/ca covers Pod [^\n]+\n$`, w.pki), "one paragraph")

		printed := regexp.MustCompile(`\{name: .*services: Optional\}`).FindString(said)
		Expect(printed).NotTo(BeEmpty(), said)
		var added v1alpha1.PodCertificateRule
		Expect(yaml.UnmarshalStrict([]byte(printed), &added)).To(Succeed())
		w.edit(ctx, func(s *v1alpha1.AcmeIssuerSpec) { s.PodCertificates.Rules = append(s.PodCertificates.Rules, added) })
		w.awaitReady(ctx)
		Expect(admin.Delete(ctx, pod, client.GracePeriodSeconds(0))).To(Succeed())
		Expect(expectIssued(ctx, w.ask(ctx, w.pod(ctx, "web-0"), newKey())).DNSNames).To(ContainElement("web." + w.shop + ".svc"))
	})

	It("says what a pending Pod waits for, and what a Pod got, also after its end", func(ctx SpecContext) {
		w := newWorld(ctx, func(s *v1alpha1.AcmeIssuerSpec) {
			s.PodCertificates = rule(func(r *v1alpha1.PodCertificateRule) { r.Services = v1alpha1.PodServicesRequired })
		})
		shell := newShell(ctx)
		why := func(pod string) string { return shell.Run(ctx, "kubectl acme why pod/"+pod+" -n "+w.shop) }
		pod := w.pod(ctx, "web-0")
		Expect(why("web-0")).To(ContainSubstring("its kubelet has no request for a certificate to " + w.signer()))
		request := w.ask(ctx, pod, newKey())
		Eventually(ctx, func() string { return why("web-0") }).WithTimeout(patience).Should(And(
			ContainSubstring("Pod web-0 is pending: its request for a certificate waits (ServiceMissing)"), ContainSubstring("Create a Service whose selector")))
		w.service(ctx, "web")
		expectIssued(ctx, request)
		name := w.records(ctx, "web-0")[0].Name
		Expect(why("web-0")).To(And(ContainSubstring("Pod web-0 is valid: order "+w.pki+"/"+name+" records"), ContainSubstring(`web.`+w.shop+`.svc`)))

		other := w.pod(ctx, "other", func(p *corev1.Pod) { p.Spec.Volumes = nil })
		Expect(why(other.Name)).To(ContainSubstring("it has no podCertificate volume"))
		expectIssued(ctx, w.ask(ctx, w.pod(ctx, "web-1"), newKey(), func(*certificatesv1.PodCertificateRequest) {}))

		in := " -n " + w.pki
		Expect(shell.Run(ctx, "kubectl acme orders -o name --pod "+w.shop+"/web-0"+in)).To(Equal("acmeorder.acmeca.dev/" + name + "\n"))
		Expect(shell.Run(ctx, "kubectl acme orders -o name --pod web-0 -A")).To(ContainSubstring(name))
		Expect(shell.Run(ctx, "kubectl acme orders --pod elsewhere/web-0"+in)).To(ContainSubstring("No orders found"))
		Expect(shell.Run(ctx, "kubectl acme order "+name+in)).To(MatchRegexp(`pod +%s/web-0, ServiceAccount front, rule mesh\n`, w.shop))
		Expect(shell.Run(ctx, "kubectl acme why "+name+in)).To(ContainSubstring("was issued"))

		Expect(admin.Delete(ctx, pod, client.GracePeriodSeconds(0))).To(Succeed())
		Expect(admin.Delete(ctx, request)).To(Succeed())
		Expect(why("web-0")).To(ContainSubstring("order " + w.pki + "/" + name + " records"))
		output, err := shell.Command("kubectl acme why pod/nobody -n " + w.shop).CombinedOutput()
		Expect(err).To(HaveOccurred())
		Expect(string(output)).To(ContainSubstring(`no pod "nobody" in namespace`))
	})
})
