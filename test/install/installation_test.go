package install

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	xacme "golang.org/x/crypto/acme"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/internal/test/controlplane"
	"github.com/acmeca/acmeca/internal/test/http01"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/internal/test/process"
	"github.com/acmeca/acmeca/test/internal/certificates"
)

// An installation is an applied overlay of config/default, and the programs that run by its manifests.
type installation struct {
	dir       string // the overlay's directory
	namespace string
	objects   []*unstructured.Unstructured
	ports     local.Ports
	issuer    client.ObjectKey
	env       []string // of the programs; nil for the suite's
	running   []*process.Process
}

// newInstallation renders an overlay in a directory.
func newInstallation(ctx SpecContext, dir, namespace, overlay string) *installation {
	GinkgoHelper()
	i := &installation{dir: dir, namespace: namespace, issuer: client.ObjectKey{Namespace: namespace, Name: "default"}}
	DeferCleanup(i.stop)
	relative, err := filepath.Rel(i.dir, root)
	Expect(err).NotTo(HaveOccurred())
	text := strings.ReplaceAll(overlay, "ROOT", relative)
	Expect(os.WriteFile(filepath.Join(i.dir, "kustomization.yaml"), []byte(text), 0o600)).To(Succeed())
	i.objects, err = controlplane.ParseManifests([]byte(kubectl(ctx, "kustomize", i.dir)))
	Expect(err).NotTo(HaveOccurred())
	i.ports, err = local.FreePorts()
	Expect(err).NotTo(HaveOccurred())
	return i
}

// stop stops the programs.
func (i *installation) stop() {
	for _, running := range i.running {
		running.Stop(20 * time.Second)
	}
}

// deployment returns the Deployment of a component.
func (i *installation) deployment(component string) *appsv1.Deployment {
	GinkgoHelper()
	var found []*appsv1.Deployment
	for _, object := range i.objects {
		if object.GetKind() == "Deployment" && object.GetLabels()["app.kubernetes.io/component"] == component {
			deployment := &appsv1.Deployment{}
			Expect(runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, deployment)).To(Succeed())
			found = append(found, deployment)
		}
	}
	Expect(found).To(HaveLen(1), component)
	return found[0]
}

func (i *installation) serviceAccount(component string) string {
	return i.deployment(component).Spec.Template.Spec.ServiceAccountName
}

// user returns a component's user name at the API server.
func (i *installation) user(component string) string {
	return "system:serviceaccount:" + i.namespace + ":" + i.serviceAccount(component)
}

// start runs a component as its Deployment specifies, but on other addresses.
func (i *installation) start(ctx SpecContext, component, name string, args ...string) *process.Process {
	GinkgoHelper()
	deployment := i.deployment(component)
	credentials := filepath.Join(i.dir, component+".kubeconfig")
	Expect(plane.WriteServiceAccountKubeconfig(ctx, i.namespace, deployment.Spec.Template.Spec.ServiceAccountName, credentials)).To(Succeed())
	variables := strings.NewReplacer("$(POD_NAMESPACE)", i.namespace, "$(POD_IP)", "127.0.0.1")
	var all []string
	for _, arg := range deployment.Spec.Template.Spec.Containers[0].Args {
		all = append(all, variables.Replace(arg))
	}
	all = append(all, "--kubeconfig="+credentials, "--external-url=https://"+i.address(i.ports.HTTPS), "--plain-url=http://"+i.address(i.ports.HTTP), "--metrics-listen=0")
	running, err := process.Start(process.Spec{Name: name, Path: program, Args: append(all, args...), Env: i.env, Log: filepath.Join(i.dir, name+".log")})
	Expect(err).NotTo(HaveOccurred())
	i.running = append(i.running, running)
	return running
}

func (i *installation) startControllers(ctx SpecContext, name string, health int) *process.Process {
	GinkgoHelper()
	return i.start(ctx, "controller", name, "--health-listen="+i.address(health))
}

// startServer mounts the Secrets of the ACME server, and runs it.
func (i *installation) startServer(ctx SpecContext) {
	GinkgoHelper()
	pod := i.deployment("server").Spec.Template.Spec
	args := []string{
		"--listen=" + i.address(i.ports.HTTPS), "--plain-listen=" + i.address(i.ports.HTTP), "--health-listen=" + i.address(i.ports.ServerHealth),
		"--replica-listen=" + i.address(i.ports.TLSALPN01), "--shutdown-delay=0s", "--replica-linger=0s",
	}
	for _, volume := range pod.Volumes {
		dir := filepath.Join(i.dir, volume.Name)
		i.mount(ctx, volume.Secret.SecretName, dir)
		args = append(args, "--"+map[string]string{"tls": "tls-dir", "replicas": "replica-dir"}[volume.Name]+"="+dir)
	}
	i.start(ctx, "server", "server", args...)
	Eventually(ctx, func() (int, error) {
		response, err := http.Get("http://" + i.address(i.ports.ServerHealth) + "/readyz")
		if err != nil {
			return 0, err
		}
		return response.StatusCode, response.Body.Close()
	}).Should(Equal(http.StatusOK))
}

// mount writes the files of a Secret once the Secret exists, as a kubelet does.
func (i *installation) mount(ctx SpecContext, name, dir string) {
	GinkgoHelper()
	secret := &corev1.Secret{}
	Eventually(ctx, func() error { return person.Get(ctx, client.ObjectKey{Namespace: i.namespace, Name: name}, secret) }).Should(Succeed())
	Expect(os.MkdirAll(dir, 0o700)).To(Succeed())
	for file, content := range secret.Data {
		Expect(os.WriteFile(filepath.Join(dir, file), content, 0o600)).To(Succeed())
	}
}

func (i *installation) address(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// applyIssuer creates an issuer that certifies loopback, with additional spec fields.
func (i *installation) applyIssuer(ctx SpecContext, name client.ObjectKey, more map[string]any) {
	GinkgoHelper()
	spec := map[string]any{
		"ca":         map[string]any{"selfSigned": map[string]any{"commonName": name.String()}},
		"policy":     map[string]any{"ip": map[string]any{"allow": []string{"127.0.0.0/8"}}},
		"validation": map[string]any{"httpPort": i.ports.HTTP01, "allowedCIDRs": []string{"127.0.0.0/8"}},
	}
	for member, value := range more {
		spec[member] = value
	}
	text, err := json.Marshal(map[string]any{"apiVersion": "acmeca.dev/v1alpha1", "kind": "AcmeIssuer", "metadata": map[string]any{"namespace": name.Namespace, "name": name.Name}, "spec": spec})
	Expect(err).NotTo(HaveOccurred())
	file := filepath.Join(i.dir, "issuer.json")
	Expect(os.WriteFile(file, text, 0o600)).To(Succeed())
	kubectl(ctx, "apply", "--server-side", "--field-manager=person", "-f", file)
}

func (i *installation) awaitIssuer(ctx SpecContext, name client.ObjectKey) {
	GinkgoHelper()
	kubectl(ctx, "wait", "--for=condition=Ready", "--timeout=2m", "-n", name.Namespace, "acmeissuer/"+name.Name)
}

// client registers with an issuer.
func (i *installation) client(ctx SpecContext, issuer client.ObjectKey) *xacme.Client {
	GinkgoHelper()
	c := &xacme.Client{Key: certificates.NewKey(), HTTPClient: i.httpClient(ctx), DirectoryURL: i.directory(issuer)}
	_, err := c.Register(ctx, &xacme.Account{Contact: []string{"mailto:someone@client.test"}}, xacme.AcceptTOS)
	// Without a leading controller, the server asks the client to retry. The client then finds the account of its
	// first request.
	Expect(err).To(Or(Not(HaveOccurred()), MatchError(xacme.ErrAccountAlreadyExists)))
	return c
}

// httpClient trusts the ACME server, whose certificate the default issuer signs.
func (i *installation) httpClient(ctx SpecContext) *http.Client {
	GinkgoHelper()
	bundle := kubectl(ctx, "get", "acmeissuer", "-n", i.issuer.Namespace, i.issuer.Name, "-o", "jsonpath={.status.caBundle}")
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: certificates.Pool([]byte(bundle))}}
	DeferCleanup(transport.CloseIdleConnections)
	return &http.Client{Timeout: 30 * time.Second, Transport: transport}
}

func (i *installation) directory(issuer client.ObjectKey) string {
	return "https://" + i.address(i.ports.HTTPS) + "/" + issuer.String() + "/acme/directory"
}

// directoryStatus returns the HTTP status of an issuer's directory.
func (i *installation) directoryStatus(ctx SpecContext, issuer client.ObjectKey) int {
	GinkgoHelper()
	response, err := i.httpClient(ctx).Get(i.directory(issuer))
	Expect(err).NotTo(HaveOccurred())
	Expect(response.Body.Close()).To(Succeed())
	return response.StatusCode
}

// obtain gets a certificate for 127.0.0.1 by http-01.
func obtain(ctx SpecContext, c *xacme.Client, responder *http01.Responder) *x509.Certificate {
	GinkgoHelper()
	order, err := c.AuthorizeOrder(ctx, xacme.IPIDs("127.0.0.1"))
	Expect(err).NotTo(HaveOccurred())
	for _, url := range order.AuthzURLs {
		authorization, err := c.GetAuthorization(ctx, url)
		Expect(err).NotTo(HaveOccurred())
		at := slices.IndexFunc(authorization.Challenges, func(c *xacme.Challenge) bool { return c.Type == "http-01" })
		Expect(at).NotTo(Equal(-1))
		challenge := authorization.Challenges[at]
		response, err := c.HTTP01ChallengeResponse(challenge.Token)
		Expect(err).NotTo(HaveOccurred())
		responder.Put(challenge.Token, response)
		if authorization.Status == xacme.StatusPending {
			_, err = c.Accept(ctx, challenge)
			Expect(err).NotTo(HaveOccurred())
		}
	}
	_, err = c.WaitOrder(ctx, order.URI)
	Expect(err).NotTo(HaveOccurred())
	key := certificates.NewKey()
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{IPAddresses: loopback}, key)
	Expect(err).NotTo(HaveOccurred())
	chain, _, err := c.CreateOrderCert(ctx, order.FinalizeURL, csr, true)
	Expect(err).NotTo(HaveOccurred())
	certificate, err := x509.ParseCertificate(chain[0])
	Expect(err).NotTo(HaveOccurred())
	Expect(c.RevokeAuthorization(ctx, order.AuthzURLs[0])).To(Succeed()) // no later order may reuse the proof
	return certificate
}
