package cluster

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/cluster"
	"github.com/acmeca/acmeca/internal/test/project"
	"github.com/acmeca/acmeca/internal/test/softhsm"
)

// sidecar is the container of the key service.
const sidecar = "keyservice"

var _ = Describe("A key service beside the controllers", func() {
	It("holds the CA's keys in a sidecar, and clients wait for a sidecar that stalls and is killed", func(ctx SpecContext) {
		kubectl(ctx, "create", "namespace", namespace)
		kubectl(ctx, "label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
		values, initialize := keyStore(ctx)
		helm(ctx, append([]string{"install"}, cluster.InstallArgs("--set", "controller.replicas=1", "--set-json", "keyService="+values)...)...)
		initialize()
		apply(ctx, `
apiVersion: acmeca.dev/v1alpha1
kind: AcmeIssuer
metadata: {name: default, namespace: `+namespace+`}
spec:
  ca: {selfSigned: {keyStore: KeyService}}
  policy: {dns: {allow: [corp.example]}}
`)
		kubectl(ctx, "wait", "--for=condition=Ready", "--namespace", namespace, "acmeissuer/default", "--timeout="+patience.String())
		for _, name := range []string{"default-root", "default-intermediate"} {
			secret := kubectl(ctx, "get", "secret", name, "--namespace", namespace, `--output=go-template={{index .data "tls.key" | base64decode}}`)
			Expect(secret).To(HavePrefix("acmeca-key-service:"))
		}
		By("obtaining a certificate")
		Expect(c.PrepareClient(ctx)).To(Succeed())
		_, err := c.FirstCertificate(ctx)
		Expect(err).NotTo(HaveOccurred())
		rollout(ctx)

		By("stalling the sidecar")
		pod := pods(ctx, "controller")[0]
		node, _ := containerOf(pod)
		id := strings.TrimPrefix(sidecarOf(pod).ContainerID, "containerd://")
		Expect(node.SignalContainer(ctx, id, "SIGSTOP")).To(Succeed())
		Expect(c.StartClient(ctx, "patient", "load", "-n=3")).To(Succeed())
		Eventually(ctx, reasons).WithTimeout(patience).WithPolling(interval).Should(ContainElement(v1alpha1.ReasonKeyServiceUnavailable))
		phase := kubectl(ctx, "get", "pod/patient", "--namespace=client", "--output=jsonpath={.status.phase}")
		Expect(phase).To(BeElementOf("Pending", "Running"))

		By("killing the sidecar, which the kubelet starts again")
		Expect(node.KillContainer(ctx, id)).To(Succeed())
		kubectl(ctx, "wait", "--for=jsonpath={.status.phase}=Succeeded", "--namespace=client", "pod/patient", "--timeout="+patience.String())
		Eventually(ctx, func() int32 { return sidecarOf(pods(ctx, "controller")[0]).RestartCount }).WithTimeout(patience).WithPolling(interval).
			Should(BeEquivalentTo(1))
		Expect(pods(ctx, "controller")[0].UID).To(Equal(pod.UID))

		By("uninstalling")
		kubectl(ctx, "delete", "acmeissuers", "--all", "--all-namespaces", "--timeout="+patience.String())
		helm(ctx, "uninstall", "acmeca", "--namespace", namespace, "--wait")
		kubectl(ctx, "delete", "pods", "--all", "--namespace", namespace, "--grace-period=1", "--wait=false")
		kubectl(ctx, "delete", "namespace", namespace, "client", "--timeout="+patience.String())
		deleteKinds(ctx)
	}, SpecTimeout(specTime))
})

// keyStore returns the chart's values for a sidecar, and a function that makes its key store after the installation. The store is a
// SoftHSM token in an image of hack/pkcs11-image.sh; without Debian's package it is files. It lives as long as the only Pod.
func keyStore(ctx context.Context) (values string, initialize func()) {
	GinkgoHelper()
	if _, err := os.Stat(softhsm.Module); err != nil {
		AddReportEntry("key store", "files, since SoftHSM is not installed")
		return `{"enabled": true, "args": ["keyservice", "--files=/run/acmeca-keyservice/keys"]}`, func() {}
	}
	const image, util = "node.test/acmeca-softhsm:dev", "/usr/bin/softhsm2-util"
	archive := filepath.Join(GinkgoT().TempDir(), "image.tar")
	root, err := project.Root()
	Expect(err).NotTo(HaveOccurred())
	build := exec.CommandContext(ctx, filepath.Join(root, "hack", "pkcs11-image.sh"), image, archive, softhsm.Module, util)
	output, err := build.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(output))
	Expect(c.Load(ctx, archive)).To(Succeed())
	kubectl(ctx, "create", "secret", "generic", "hsm", "--namespace", namespace, "--from-literal=pin=1234",
		"--from-literal=softhsm2.conf=directories.tokendir = /tokens")
	initialize = func() {
		GinkgoHelper()
		Eventually(ctx, func() error {
			_, err := c.Kubectl(ctx, "exec", "--namespace", namespace, "deployment/acmeca-controller", "--container="+sidecar, "--",
				util, "--module="+softhsm.Module, "--init-token", "--free", "--label=acmeca", "--so-pin=5678", "--pin=1234")
			return err
		}).WithTimeout(patience).WithPolling(interval).Should(Succeed())
		AddReportEntry("key store", "SoftHSM")
	}
	return `{"enabled": true, "image": "` + image + `",
		"args": ["--token=pkcs11:token=acmeca?module-path=` + softhsm.Module + `&pin-source=file:/etc/acmeca/pin"],
		"env": [{"name": "SOFTHSM2_CONF", "value": "/etc/acmeca/softhsm2.conf"}],
		"volumes": [{"name": "hsm", "secret": {"secretName": "hsm"}}, {"name": "tokens", "emptyDir": {}}],
		"volumeMounts": [{"name": "hsm", "mountPath": "/etc/acmeca"}, {"name": "tokens", "mountPath": "/tokens"}]}`, initialize
}

func sidecarOf(pod corev1.Pod) corev1.ContainerStatus {
	for _, status := range pod.Status.InitContainerStatuses {
		if status.Name == sidecar {
			return status
		}
	}
	return corev1.ContainerStatus{}
}

// reasons returns the reasons in the conditions of issuers and orders.
func reasons(ctx context.Context) (all []string) {
	GinkgoHelper()
	var list struct {
		Items []struct {
			Status struct{ Conditions []metav1.Condition }
		}
	}
	text := kubectl(ctx, "get", "acmeissuers,acmeorders", "--namespace", namespace, "--output=json")
	Expect(json.Unmarshal([]byte(text), &list)).To(Succeed())
	for _, item := range list.Items {
		for _, condition := range item.Status.Conditions {
			all = append(all, condition.Reason)
		}
	}
	return all
}
