// Package conformance holds the running server to the RFCs, with a client that knows nothing of what clients usually do
// right: it sends what a spec tells it to.
package conformance

import (
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/hack/run/local"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
)

func TestConformance(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "Conformance")
}

var (
	running *local.Local
	kube    client.Client
	// responder answers http-01 for every name.
	responder *http01
)

var _ = BeforeSuite(func(ctx SpecContext) {
	var stop func()
	var err error
	running, stop, err = local.StartForTest(ctx)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(stop)

	scheme := runtime.NewScheme()
	Expect(clientgoscheme.AddToScheme(scheme)).To(Succeed())
	Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	kube, err = client.New(running.Plane().Config(), client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())

	responder, err = serveHTTP01(running.Ports().HTTP01)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(responder.Close)
})
