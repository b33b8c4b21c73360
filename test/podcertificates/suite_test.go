// Package podcertificates tests certificates for Pods against a real API server that treats kubelets as such: with the authorizer
// Node and the admission plugin NodeRestriction. The test acts as the kubelet.
package podcertificates

import (
	"context"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/controlplane"
)

func TestPodCertificates(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "Pod certificates")
}

const nodeName = "node-1"

var (
	plane  *controlplane.Plane
	scheme = runtime.NewScheme()
	// admin has every right, kubelet those of a node, and acmeServer those of the ACME server.
	admin, kubelet, acmeServer client.Client
	controllerConfig           *rest.Config
	node                       *corev1.Node
)

var _ = BeforeSuite(func(ctx SpecContext) {
	logf.SetLogger(GinkgoLogr)
	Expect(clientgoscheme.AddToScheme(scheme)).To(Succeed())
	Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	var err error
	plane, err = controlplane.StartForTest(ctx, "--authorization-mode=Node", "--enable-admission-plugins=NodeRestriction")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(plane.Stop)
	admin = newClient(plane.Config())
	install(ctx, plane, admin)
	controllerConfig, err = plane.ServiceAccountConfig(ctx, "acmeca-system", "acmeca-controller")
	Expect(err).NotTo(HaveOccurred())
	server, err := plane.ServiceAccountConfig(ctx, "acmeca-system", "acmeca-server")
	Expect(err).NotTo(HaveOccurred())
	acmeServer = newClient(server)

	node = &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName}}
	Expect(admin.Create(ctx, node)).To(Succeed())
	config := plane.Config()
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:node:" + nodeName, Groups: []string{"system:nodes", "system:authenticated"}}
	kubelet = newClient(config)
})

// install applies the manifests that give the controllers their rights, with those for Pods.
func install(ctx context.Context, plane *controlplane.Plane, admin client.Client) {
	GinkgoHelper()
	Expect(admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "acmeca-system"}})).To(Succeed())
	Expect(plane.ApplyProject(ctx, "config/rbac", "config/pod-certificates", "config/admission")).To(Succeed())
}

func newClient(config *rest.Config) client.Client {
	GinkgoHelper()
	c, err := client.New(config, client.Options{Scheme: scheme, FieldValidation: metav1.FieldValidationStrict})
	Expect(err).NotTo(HaveOccurred())
	return c
}

func newNamespace(ctx context.Context, prefix string) string {
	GinkgoHelper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: prefix, Labels: map[string]string{"mesh": "on"}}}
	Expect(admin.Create(ctx, namespace)).To(Succeed())
	return namespace.Name
}

// grantStatus lets a ServiceAccount write the status of requests, without the verb sign.
func grantStatus(ctx context.Context, namespace, account string) {
	GinkgoHelper()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "status-of-" + namespace}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"certificates.k8s.io"}, Resources: []string{"podcertificaterequests/status"}, Verbs: []string{"update"}},
	}}
	Expect(admin.Create(ctx, role)).To(Succeed())
	Expect(admin.Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: account}},
	})).To(Succeed())
}
