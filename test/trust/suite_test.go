// Package trust plays a captured ACME server. It runs all of acmeca and then writes requests that no client sent into
// the API objects, with the ACME server's own ServiceAccount and an ACME account. No such request may succeed, and
// kubectl must show each attempt.
package trust

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/binaries"
	"github.com/acmeca/acmeca/internal/test/http01"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/test/internal/certificates"
	"github.com/acmeca/acmeca/test/internal/suite"
)

func TestTrust(t *testing.T) { suite.Run(t, "Trust") }

const (
	issuerName   = "default"
	patience     = 15 * time.Second // for immediate work of the controllers
	specPatience = time.Minute
)

var (
	acmeca *local.Local
	// person has every right, like a cluster administrator; server and controller have those of their
	// ServiceAccounts.
	person, server, controller client.Client
	responder                  *http01.Responder
	kubectlPath                string

	// thief is the key of every certificate that must never be issued.
	thief = certificates.NewKey()
)

var _ = BeforeSuite(func(ctx SpecContext) {
	programs, err := binaries.Find("kubectl")
	Expect(err).NotTo(HaveOccurred())
	kubectlPath = filepath.Join(programs, "kubectl")
	acmeca = suite.Start(ctx)
	responder = suite.Respond(acmeca.Ports().HTTP01)
	person = acmeca.Client()
	serviceAccount := func(name string) client.Client {
		config, err := acmeca.Plane().ServiceAccountConfig(ctx, local.Namespace, name)
		Expect(err).NotTo(HaveOccurred())
		c, err := client.New(config, client.Options{Scheme: person.Scheme()})
		Expect(err).NotTo(HaveOccurred())
		return c
	}
	server, controller = serviceAccount("acmeca-server"), serviceAccount("acmeca-controller")
})

// No attempt gives the thief a certificate.
var _ = AfterEach(func(ctx SpecContext) {
	var orders v1alpha1.AcmeOrderList
	Expect(person.List(ctx, &orders)).To(Succeed())
	for _, order := range orders.Items {
		if block, _ := pem.Decode([]byte(order.Status.Certificate)); block != nil {
			certificate, err := x509.ParseCertificate(block.Bytes)
			Expect(err).NotTo(HaveOccurred())
			Expect(certificate.PublicKey).NotTo(Equal(thief.Public()), "order %s", order.Name)
		}
	}
})

var _ = suite.ShowLog(&acmeca)

func csr(key crypto.Signer, names ...string) []byte {
	GinkgoHelper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, key)
	Expect(err).NotTo(HaveOccurred())
	return der
}

var names int

// newName returns a name that no other spec uses.
func newName() string {
	names++
	return fmt.Sprintf("n%d.test", names)
}

// writeSpec changes members of an object's spec, as a captured ACME server does. A nil member is removed.
func writeSpec(ctx context.Context, c client.Client, object client.Object, members map[string]any) error {
	GinkgoHelper()
	patch, err := json.Marshal(map[string]any{"spec": members})
	Expect(err).NotTo(HaveOccurred())
	return c.Patch(ctx, object.DeepCopyObject().(client.Object), client.RawPatch(types.MergePatchType, patch))
}

// plant makes a captured ACME server create an object. Without a name the object gets a new one.
func plant(ctx context.Context, object client.Object) {
	GinkgoHelper()
	object.SetNamespace(local.Namespace)
	if object.GetName() == "" {
		object.SetName(v1alpha1.NewObjectName(time.Now()))
	}
	Expect(server.Create(ctx, object)).To(Succeed())
}

// refresh reads an object again.
func refresh[T client.Object](ctx context.Context, object T) T {
	GinkgoHelper()
	Expect(person.Get(ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
	return object
}

// kubectl runs a command as a person, and returns its output.
func kubectl(ctx context.Context, args ...string) string {
	GinkgoHelper()
	cmd := exec.CommandContext(ctx, kubectlPath, append([]string{"--kubeconfig", acmeca.Kubeconfig(), "--namespace", local.Namespace}, args...)...)
	output, err := cmd.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "%s", output)
	return string(output)
}

// expectShown waits until `kubectl describe` shows all the words about an object. Its events are written shortly
// after the status.
func expectShown(ctx context.Context, resource string, object client.Object, words ...string) {
	GinkgoHelper()
	Eventually(ctx, func() string { return kubectl(ctx, "describe", resource, object.GetName()) }).
		WithTimeout(patience).WithPolling(200 * time.Millisecond).Should(containAll(words))
}

// expectEvent waits until the events of an object contain all the words. The object may be deleted.
func expectEvent(ctx context.Context, name string, words ...string) {
	GinkgoHelper()
	Eventually(ctx, func() string { return kubectl(ctx, "get", "events", "--field-selector", "involvedObject.name="+name) }).
		WithTimeout(patience).WithPolling(200 * time.Millisecond).Should(containAll(words))
}

func containAll(words []string) OmegaMatcher {
	matchers := make([]OmegaMatcher, len(words))
	for i, word := range words {
		matchers[i] = ContainSubstring(word)
	}
	return And(matchers...)
}
