package relyingparties

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/acmeca/acmeca/internal/test/project"
	"github.com/acmeca/acmeca/test/internal/programs"
)

func sample(name string) string {
	GinkgoHelper()
	root, err := project.Root()
	Expect(err).NotTo(HaveOccurred())
	return filepath.Join(root, "config", "samples", "revocation", name)
}

var _ = Describe("The sample that keeps the file current", func() {
	for name, p := range map[string]*party{"nginx": nginx, "haproxy": haproxy, "postgresql": postgresql, "apache": apacheChain} {
		It("does so for "+p.name, func(ctx SpecContext) {
			if !picked(p) {
				Skip("ACMECA_PARTIES leaves this program out")
			}
			for _, missing := range []string{p.missing(), curl.missing()} {
				if missing != "" {
					programs.Lack(missing)
				}
			}
			s := newSite()
			program := p.open(ctx, s).(*server)
			accepted, output := program.verify(ctx, "good2")
			Expect(accepted).To(BeFalse(), "the file is of before the rotation: %s", output)
			reload := fmt.Sprintf("kill -%d %d", program.signal, program.process.PID)
			programs.Start(func() error { return nil },
				[]string{"URL=" + crlsURL(), "FILE=" + s.path("crls.pem"), "PERIOD=1", "RELOAD=" + reload}, "/bin/sh", sample("refresh.sh"))
			phases[len(phases)-1].judge(ctx, program, false)
		}, SpecTimeout(2*time.Minute))

		It("is a patch of a workload of "+p.name, func(ctx SpecContext) {
			text, err := os.ReadFile(sample(name + ".yaml"))
			Expect(err).NotTo(HaveOccurred())
			patch, err := yaml.YAMLToJSON(text)
			Expect(err).NotTo(HaveOccurred())
			template := workload(ctx, name, strings.Contains(string(text), "kubectl patch statefulset"), patch)
			Expect(template.Spec.Containers).To(HaveLen(1), "the patch names another container")
			Expect(template.Spec.Containers[0].Image).To(Equal("server"))
			Expect(template.Spec.InitContainers).To(HaveLen(1))
			Expect(*template.Spec.ShareProcessNamespace).To(BeTrue())
		}, SpecTimeout(time.Minute))
	}
})

// workload creates a Deployment or StatefulSet, patches it as kubectl does, and returns its template.
func workload(ctx SpecContext, name string, stateful bool, patch []byte) corev1.PodTemplateSpec {
	GinkgoHelper()
	labels := map[string]string{"app": name}
	template := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: name, Image: "server"}}},
	}
	meta := metav1.ObjectMeta{Namespace: "default", Name: name}
	selector := &metav1.LabelSelector{MatchLabels: labels}
	deployment := &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Selector: selector, Template: template}}
	set := &appsv1.StatefulSet{ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{Selector: selector, Template: template}}
	var object client.Object = deployment
	if stateful {
		object = set
	}
	Expect(cluster.Create(ctx, object)).To(Succeed())
	Expect(cluster.Patch(ctx, object, client.RawPatch(types.StrategicMergePatchType, patch), client.FieldOwner("kubectl"))).To(Succeed())
	if stateful {
		return set.Spec.Template
	}
	return deployment.Spec.Template
}
