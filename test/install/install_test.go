package install

import (
	"crypto/x509"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	xacme "golang.org/x/crypto/acme"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/crlstore"
	"github.com/acmeca/acmeca/internal/test/http01"
	"github.com/acmeca/acmeca/internal/test/process"
	"github.com/acmeca/acmeca/test/internal/certificates"
	"github.com/acmeca/acmeca/test/internal/suite"
)

var loopback = []net.IP{net.IPv4(127, 0, 0, 1)}

// renamed moves everything into another namespace, under other names.
const renamed = `
namespace: pki
namePrefix: corp-
resources: [ROOT/config/default]
`

// first is the installation under other names. It watches all namespaces, until it is limited to its own.
var first *installation

// The order matters: the first installation starts on an empty cluster.
var _ = Describe("kubectl apply", Ordered, func() {
	Describe("of an installation under other names", renamedInstallation)
	Describe("of an installation for some namespaces", watchingInstallation)
})

func renamedInstallation() {
	var (
		i         *installation
		responder *http01.Responder
		leader    *process.Process

		orderByHand string // the name of an order that a person creates
	)
	BeforeAll(func(ctx SpecContext) {
		i = newInstallation(ctx, GinkgoT().TempDir(), "pki", renamed)
		responder = suite.Respond(i.ports.HTTP01)
		first = i
	})

	AfterEach(func() {
		if CurrentSpecReport().Failed() {
			for _, running := range i.running {
				AddReportEntry("last lines of "+running.LogFile(), running.LogTail(40))
			}
		}
	})

	It("uses its namespace everywhere", func() {
		for _, object := range i.objects {
			text, err := object.MarshalJSON()
			Expect(err).NotTo(HaveOccurred())
			Expect(string(text)).NotTo(ContainSubstring("acmeca-system"), "%s %s", object.GetKind(), object.GetName())
		}
	})

	It("is accepted by the API server without a warning, as a dry run too", func(ctx SpecContext) {
		// A dry run does not create the namespace of the other objects.
		kubectl(ctx, "apply", "-k", root+"/config/namespace")
		for _, with := range []string{"/config/default", "/hack/packaging/testdata/key-service"} { // a Pod that is not restricted is a warning
			Expect(kubectl(ctx, "apply", "--dry-run=server", "-k", root+with)).NotTo(ContainSubstring("Warning: "))
		}
		chart := filepath.Join(i.dir, "chart.yaml")
		Expect(os.WriteFile(chart, renderChart(ctx, "acmeca-system"), 0o600)).To(Succeed())
		Expect(kubectl(ctx, "apply", "--dry-run=server", "-f", chart)).NotTo(ContainSubstring("Warning: "))
		Expect(kubectl(ctx, "apply", "--server-side", "-k", i.dir)).NotTo(ContainSubstring("Warning: "))
		kubectl(ctx, "wait", "--for=condition=Established", "--timeout=1m", "-f", root+"/config/crd/bases")
		for _, samples := range []string{"/config/samples", "/config/samples/by-the-server"} {
			Expect(kubectl(ctx, "apply", "--server-side", "--dry-run=server", "-k", root+samples)).NotTo(ContainSubstring("Warning: "))
		}
	}, SpecTimeout(5*time.Minute))

	It("has Pods that a restricted namespace accepts", func(ctx SpecContext) {
		for _, component := range []string{"controller", "server"} {
			template := i.deployment(component).Spec.Template
			pod := &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
			pod.Namespace, pod.Name = i.namespace, component
			Expect(person.Create(ctx, pod, client.DryRunAll)).To(Succeed())
			Expect(pod.Spec.Priority).To(HaveValue(BeNumerically(">", 0)))
			pod.ResourceVersion, pod.UID, pod.Spec.Priority = "", "", nil
			pod.Spec.Containers[0].SecurityContext.AllowPrivilegeEscalation = ptr.To(true)
			Expect(person.Create(ctx, pod, client.DryRunAll)).To(MatchError(ContainSubstring(`violates PodSecurity "restricted:latest"`)))
		}
	}, SpecTimeout(time.Minute))

	It("issues, revokes and rotates its CA's key with the rights of its ServiceAccounts", func(ctx SpecContext) {
		leader = i.startControllers(ctx, "leader", i.ports.ControllerHealth)
		i.applyIssuer(ctx, i.issuer, map[string]any{"trust": map[string]any{"clusterTrustBundle": true}})
		i.awaitIssuer(ctx, i.issuer)
		// Processes from here on list objects, as with an API server that does not stream lists to watches.
		i.env = append(os.Environ(), "KUBE_FEATURE_WatchListClient=false")
		i.startServer(ctx)
		c := i.client(ctx, i.issuer)
		certificate := obtain(ctx, c, responder)
		part := i.leavePart(ctx, certificate)
		Expect(c.RevokeCert(ctx, nil, certificate.Raw, 0)).To(Succeed())
		Eventually(ctx, func() (string, error) { return i.crl(certificate.CRLDistributionPoints[0]) }).ShouldNot(BeEmpty())
		Eventually(ctx, func() bool {
			return apierrors.IsNotFound(person.Get(ctx, client.ObjectKeyFromObject(part), part))
		}).Should(BeTrue(), "the next CRL removes the part of an unfinished one")
		Expect(c.AccountKeyRollover(ctx, certificates.NewKey())).To(Succeed())

		bundles := kubectl(ctx, "get", "clustertrustbundles", "-o", "name")
		Expect(bundles).NotTo(BeEmpty())
		i.applyIssuer(ctx, i.issuer, nil)
		Eventually(ctx, func() string { return kubectl(ctx, "get", "clustertrustbundles", "-o", "name") }).ShouldNot(Equal(bundles))

		chain := func() string {
			return kubectl(ctx, "get", "acmeissuer", "-n", i.issuer.Namespace, i.issuer.Name, "-o", "jsonpath={.status.issuingCertificate.chain}")
		}
		before := chain()
		kubectl(ctx, "annotate", "acmeissuer", "-n", i.issuer.Namespace, i.issuer.Name, v1alpha1.RotateIntermediateAnnotation+"=1")
		Eventually(ctx, chain).ShouldNot(Equal(before))
		Expect(c.DeactivateReg(ctx)).To(Succeed())
	}, SpecTimeout(5*time.Minute))

	It("limits the ACME server by the admission policy", func(ctx SpecContext) {
		config, err := plane.ServiceAccountConfig(ctx, i.namespace, i.serviceAccount("server"))
		Expect(err).NotTo(HaveOccurred())
		server, err := client.New(config, client.Options{Scheme: person.Scheme()})
		Expect(err).NotTo(HaveOccurred())
		var orders v1alpha1.AcmeOrderList
		Expect(person.List(ctx, &orders, client.InNamespace(i.namespace))).To(Succeed())
		Expect(orders.Items).NotTo(BeEmpty())
		patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata": {"finalizers": ["acmeca.dev/mine"]}}`))
		// A dry run keeps refusals out of the audit log.
		err = server.Patch(ctx, &orders.Items[0], patch, client.DryRunAll)
		Expect(err).To(MatchError(ContainSubstring("the ACME server may not set")))
	}, SpecTimeout(time.Minute))

	It("answers 404 for unknown objects, and removes the finalizer of a deleted revoked order", func(ctx SpecContext) {
		c := i.client(ctx, i.issuer)
		base := strings.TrimSuffix(i.directory(i.issuer), acme.DirectoryPath)
		_, err := c.GetOrder(ctx, base+acme.OrderPath("another"))
		Expect(err).To(MatchError(HavePrefix("404 ")))
		_, err = c.GetAuthorization(ctx, base+acme.AuthorizationPath("another"))
		Expect(err).To(MatchError(HavePrefix("404 ")))
		c.KID = xacme.KeyID(base + acme.AccountPath("another"))
		_, err = c.GetOrder(ctx, base+acme.OrderPath("another"))
		Expect(err).To(MatchError(ContainSubstring("accountDoesNotExist")))
		kubectl(ctx, "delete", "acmeorders", "-n", i.namespace, "--all")
	}, SpecTimeout(time.Minute))

	It("answers invalid objects made by hand with a problem", func(ctx SpecContext) {
		issuer, nobody := v1alpha1.ObjectRef{Name: i.issuer.Name}, v1alpha1.ObjectRef{Name: "nobody"}
		byHand := metav1.ObjectMeta{Namespace: i.namespace, Name: "by-hand"}
		Expect(person.Create(ctx, &v1alpha1.AcmeAuthorization{ObjectMeta: byHand, Spec: v1alpha1.AcmeAuthorizationSpec{
			IssuerRef: issuer, AccountRef: nobody, Identifier: v1alpha1.Identifier{Type: acme.DNS, Value: "by-hand.test"},
			Challenges: []v1alpha1.Challenge{{Type: acme.HTTP01, Token: strings.Repeat("a", 43)}},
		}})).To(Succeed())
		orderByHand = v1alpha1.NewObjectName(time.Now())
		Expect(person.Create(ctx, &v1alpha1.AcmeOrder{ObjectMeta: metav1.ObjectMeta{Namespace: i.namespace, Name: orderByHand}, Spec: v1alpha1.AcmeOrderSpec{
			IssuerRef: issuer, AccountRef: nobody, Identifiers: []v1alpha1.Identifier{{Type: acme.DNS, Value: "another.test"}}, Authorizations: []string{"by-hand"},
		}})).To(Succeed())
		Eventually(ctx, func() string {
			return kubectl(ctx, "get", "acmeorder", "-n", i.namespace, orderByHand, "-o", "jsonpath={.status.state} {.status.problem.detail}")
		}).Should(MatchRegexp("^invalid .+by-hand"))
		astray := v1alpha1.NewObjectName(time.Now())
		Expect(person.Create(ctx, &v1alpha1.AcmeOrder{ObjectMeta: metav1.ObjectMeta{Namespace: i.namespace, Name: astray}, Spec: v1alpha1.AcmeOrderSpec{
			IssuerRef: nobody, AccountRef: nobody, Identifiers: []v1alpha1.Identifier{{Type: acme.DNS, Value: "another.test"}}, Authorizations: []string{"by-hand"},
		}})).To(Succeed())
		Eventually(ctx, func() string {
			return kubectl(ctx, "get", "acmeorder", "-n", i.namespace, astray, "-o", "jsonpath={.status.state} {.status.problem.detail}")
		}).Should(HavePrefix(`invalid the issuer "nobody" was deleted`))
		account := i.unsignedAccount()
		Expect(person.Create(ctx, account)).To(Succeed())
		Eventually(ctx, func() bool {
			return apierrors.IsNotFound(person.Get(ctx, client.ObjectKeyFromObject(account), account))
		}).Should(BeTrue())
	}, SpecTimeout(time.Minute))

	It("has one Event for a repeated refusal whose status cannot be written", func(ctx SpecContext) {
		policy := filepath.Join(i.dir, "policy.yaml")
		Expect(os.WriteFile(policy, []byte(noVerdicts), 0o600)).To(Succeed())
		kubectl(ctx, "apply", "-f", policy)
		Eventually(ctx, func() map[right]bool {
			// The account is refused and removed as above until the API server enforces the policy.
			Expect(client.IgnoreAlreadyExists(person.Create(ctx, i.unsignedAccount()))).To(Succeed())
			return used(requestsOf(i.user("controller")))
		}).Should(HaveKey(right{"events.k8s.io", "events", "patch"}))
		kubectl(ctx, "delete", "-f", policy)
		Eventually(ctx, func() bool {
			account := i.unsignedAccount()
			return apierrors.IsNotFound(person.Get(ctx, client.ObjectKeyFromObject(account), account))
		}).Should(BeTrue())
	}, SpecTimeout(time.Minute))

	It("continues when the leading controller is killed, and removes expired objects", func(ctx SpecContext) {
		follower := i.startControllers(ctx, "follower", i.ports.DNS)
		Eventually(ctx, func() error {
			response, err := http.Get("http://" + i.address(i.ports.DNS) + "/healthz")
			if err != nil {
				return err
			}
			return response.Body.Close()
		}).Should(Succeed())
		long := metav1.NewTime(time.Now().Add(-20 * 365 * 24 * time.Hour).Truncate(time.Second))
		i.setStatus(ctx, &v1alpha1.AcmeAuthorization{}, "by-hand", `{"expires": "`+long.UTC().Format(time.RFC3339)+`"}`)
		i.setStatus(ctx, &v1alpha1.AcmeOrder{}, orderByHand, `{"conditions": [{"type": "Ready", "status": "False", "reason": "Restored", "message": "from a backup", "lastTransitionTime": "`+long.UTC().Format(time.RFC3339)+`"}]}`)
		lease := &coordinationv1.Lease{}
		Expect(person.Get(ctx, client.ObjectKey{Namespace: i.namespace, Name: "controller.acmeca.dev"}, lease)).To(Succeed())
		Expect(lease.Spec.LeaseDurationSeconds).To(HaveValue(BeEquivalentTo(3)), "clients do not wait longer for a new leader")
		leader.Kill()
		obtain(ctx, i.client(ctx, i.issuer), responder)
		for name, object := range map[string]client.Object{orderByHand: &v1alpha1.AcmeOrder{}, "by-hand": &v1alpha1.AcmeAuthorization{}} {
			Eventually(ctx, func() bool {
				return apierrors.IsNotFound(person.Get(ctx, client.ObjectKey{Namespace: i.namespace, Name: name}, object))
			}).Should(BeTrue())
		}
		Expect(follower.Done()).NotTo(BeClosed())
	}, SpecTimeout(3*time.Minute))

	It("has no unused right, and was refused nothing", func() {
		Expect(append(i.excesses("server"), i.excesses("controller")...)).To(BeEmpty())
	})
}

// noVerdicts forbids everyone to write the status of an account.
const noVerdicts = `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: no-verdicts}
spec:
  matchConstraints:
    resourceRules:
    - {apiGroups: [acmeca.dev], apiVersions: ["*"], operations: [UPDATE], resources: [acmeaccounts/status]}
  validations: [{expression: "false"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: no-verdicts}
spec: {policyName: no-verdicts, validationActions: [Deny]}
`

// unsignedAccount has a registration without a valid signature, so it would block the owner of the key.
func (i *installation) unsignedAccount() *v1alpha1.AcmeAccount {
	return &v1alpha1.AcmeAccount{
		ObjectMeta: metav1.ObjectMeta{Namespace: i.namespace, Name: "by-hand"},
		Spec: v1alpha1.AcmeAccountSpec{
			IssuerRef: v1alpha1.ObjectRef{Name: i.issuer.Name}, JWK: "{}",
			Registration: &v1alpha1.SignedRequest{Protected: "e30", Payload: "e30", Signature: "AAAA"},
		},
	}
}

// leavePart creates a part of a CRL that a controller did not finish: the CRLs of this suite need no parts.
func (i *installation) leavePart(ctx SpecContext, certificate *x509.Certificate) *corev1.ConfigMap {
	GinkgoHelper()
	name := strings.TrimSuffix(path.Base(certificate.CRLDistributionPoints[0]), acme.CRLSuffix)
	head := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: i.namespace, Name: v1alpha1.CRLConfigMap(i.issuer.Name, name)}}
	head.Data = map[string]string{"next": "1 1"}
	names := crlstore.PartsOf(head)
	Expect(names).To(HaveLen(1))
	part := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: i.namespace, Name: names[0]}}
	Expect(person.Create(ctx, part)).To(Succeed())
	patch := client.RawPatch(types.MergePatchType, []byte(`{"data": {"next": "1 1"}}`))
	Eventually(ctx, func() error { return person.Patch(ctx, head, patch) }).Should(Succeed())
	return part
}

// crl fetches a CRL by its URL.
func (i *installation) crl(url string) (string, error) {
	response, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return "", nil
	}
	return response.Header.Get("Content-Type"), nil
}

// renderChart returns the Helm chart's objects.
func renderChart(ctx SpecContext, namespace string) []byte {
	GinkgoHelper()
	cmd := exec.CommandContext(ctx, "go", "-C", "hack/packaging", "run", "./template", namespace)
	cmd.Dir = root
	cmd.Stderr = GinkgoWriter
	output, err := cmd.Output()
	Expect(err).NotTo(HaveOccurred())
	return output
}

// setStatus writes a status as a person does who restores a backup.
func (i *installation) setStatus(ctx SpecContext, object client.Object, name, status string) {
	GinkgoHelper()
	object.SetNamespace(i.namespace)
	object.SetName(name)
	config := plane.Config()
	config.Impersonate = rest.ImpersonationConfig{UserName: "person", Groups: []string{"system:masters", "acmeca.dev:restore"}}
	restorer, err := client.New(config, client.Options{Scheme: person.Scheme()})
	Expect(err).NotTo(HaveOccurred())
	Expect(restorer.Status().Patch(ctx, object, client.RawPatch(types.MergePatchType, []byte(`{"status": `+status+`}`)))).To(Succeed())
}
