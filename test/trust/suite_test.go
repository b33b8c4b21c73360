// Package trust plays an ACME server that has been taken over. It runs all of acmeca and then, with the ACME server's own
// ServiceAccount and an ACME account of its own, writes into the API objects what no client asked for. Nothing of that may
// come true, and whoever looks with kubectl has to see that it was tried.
package trust

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
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
	"github.com/acmeca/acmeca/test/internal/suite"
)

func TestTrust(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "Trust")
}

const (
	issuerName   = "default"
	patience     = 15 * time.Second // for what the controllers are to do at once
	specPatience = time.Minute
)

var (
	acmeca *local.Local
	// person has every right, as who looks after the cluster has; ACME server and controller have those of their
	// ServiceAccounts.
	person, server, controller client.Client
	responder                  *http01.Responder
	kubectlPath                string

	// thief is the key of every certificate that must not come to be.
	thief = newKey()
)

var _ = BeforeSuite(func(ctx SpecContext) {
	programs, err := binaries.Find("kubectl")
	Expect(err).NotTo(HaveOccurred())
	kubectlPath = filepath.Join(programs, "kubectl")
	acmeca = suite.Start(ctx)
	responder, err = http01.Start(acmeca.Ports().HTTP01)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(responder.Stop)
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

// Whatever was tried, the thief has no certificate.
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

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

func csr(key crypto.Signer, names ...string) []byte {
	GinkgoHelper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, key)
	Expect(err).NotTo(HaveOccurred())
	return der
}

var names int

// newName is a name that no other spec has.
func newName() string {
	names++
	return fmt.Sprintf("n%d.test", names)
}

// writeSpec is what a captured ACME server does: it changes members of an object's spec. A nil member is removed.
func writeSpec(ctx context.Context, c client.Client, object client.Object, members map[string]any) error {
	GinkgoHelper()
	patch, err := json.Marshal(map[string]any{"spec": members})
	Expect(err).NotTo(HaveOccurred())
	return c.Patch(ctx, object.DeepCopyObject().(client.Object), client.RawPatch(types.MergePatchType, patch))
}

// plant has a captured ACME server create an object, under a name of its own where it has none.
func plant(ctx context.Context, object client.Object) {
	GinkgoHelper()
	object.SetNamespace(local.Namespace)
	if object.GetName() == "" {
		object.SetName(fmt.Sprintf("planted-%d", time.Now().UnixNano()))
	}
	Expect(server.Create(ctx, object)).To(Succeed())
}

// refresh reads an object again.
func refresh[T client.Object](ctx context.Context, object T) T {
	GinkgoHelper()
	Expect(person.Get(ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
	return object
}

// kubectl is its output; a person's view.
func kubectl(ctx context.Context, args ...string) string {
	GinkgoHelper()
	cmd := exec.CommandContext(ctx, kubectlPath, append([]string{"--kubeconfig", acmeca.Kubeconfig(), "--namespace", local.Namespace}, args...)...)
	output, err := cmd.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "%s", output)
	return string(output)
}

// expectShown looks for all the words in what `kubectl describe` says of an object, its events included. They are
// written a moment after the status.
func expectShown(ctx context.Context, resource string, object client.Object, words ...string) {
	GinkgoHelper()
	Eventually(ctx, func() string { return kubectl(ctx, "describe", resource, object.GetName()) }).
		WithTimeout(patience).WithPolling(200 * time.Millisecond).Should(containAll(words))
}

// expectEvent looks for all the words in the events of an object that may be gone by now.
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
