package validation

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

var _ = Describe("config/validator", Ordered, func() {
	const name = "acmeca-validator" // of all objects
	var deployment appsv1.Deployment
	BeforeAll(func(ctx SpecContext) {
		Expect(acmeca.Plane().ApplyProject(ctx, "config/validator")).To(Succeed())
		Expect(cluster.Get(ctx, client.ObjectKey{Namespace: name, Name: name}, &deployment)).To(Succeed())
	})

	// admit asks the API server whether a Pod of the Deployment may be created. Pod security applies to Pods.
	admit := func(ctx context.Context, edit func(*corev1.PodSpec)) error {
		pod := &corev1.Pod{ObjectMeta: deployment.Spec.Template.ObjectMeta, Spec: *deployment.Spec.Template.Spec.DeepCopy()}
		pod.Namespace, pod.Name = name, "tried"
		edit(&pod.Spec)
		return cluster.Create(ctx, pod, client.DryRunAll)
	}

	It("has Pods that restricted Pod security accepts, without a token", func(ctx SpecContext) {
		Expect(admit(ctx, func(spec *corev1.PodSpec) {
			Expect(spec.AutomountServiceAccountToken).To(HaveValue(BeFalse()))
		})).To(Succeed())
		Expect(admit(ctx, func(spec *corev1.PodSpec) { spec.HostNetwork = true })).To(MatchError(ContainSubstring("restricted")))
	}, SpecTimeout(time.Minute))

	It("has a Service and a NetworkPolicy for those Pods", func(ctx SpecContext) {
		var service corev1.Service
		var policy networkingv1.NetworkPolicy
		Expect(cluster.Get(ctx, client.ObjectKey{Namespace: name, Name: name}, &service)).To(Succeed())
		Expect(cluster.Get(ctx, client.ObjectKey{Namespace: name, Name: name}, &policy)).To(Succeed())
		Expect(service.Spec.Selector).To(Equal(deployment.Spec.Template.Labels))
		Expect(policy.Spec.PodSelector.MatchLabels).To(Equal(deployment.Spec.Template.Labels))
	}, SpecTimeout(time.Minute))

	It("runs with its arguments, and serves only controllers", func(ctx SpecContext) {
		p, address := newPKI(), "127.0.0.1:"+freePortText()
		ask := func(as string) error {
			roots := x509.NewCertPool()
			roots.AddCert(p.certificate)
			pair, err := tls.X509KeyPair(p.issue(as))
			Expect(err).NotTo(HaveOccurred())
			asking := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}}}
			response, err := asking.Get("https://" + address)
			if err == nil {
				response.Body.Close()
			}
			return err
		}
		args := append(slices.Clone(deployment.Spec.Template.Spec.Containers[0].Args), "--listen", address, "--health-listen", "0", "--tls-dir", p.writeFiles("127.0.0.1"))
		startServer(func() error { return ask("acmeca-controller") }, buildAcmeca(ctx), args...)
		Expect(ask("somebody-else")).To(HaveOccurred())
	}, SpecTimeout(time.Minute))
})
