// Package conformance holds the running server to the RFCs, with a client that knows nothing of what clients usually do
// right: it sends what a spec tells it to.
package conformance

import (
	"os"
	"strings"
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

// What the operator said to itself tells more of a failure than what it told the client.
var _ = AfterEach(func() {
	if !CurrentSpecReport().Failed() {
		return
	}
	log, err := os.ReadFile(running.OperatorLog())
	Expect(err).NotTo(HaveOccurred())
	var errors []string
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, `"level":"error"`) {
			errors = append(errors, line)
		}
	}
	AddReportEntry("the operator's last errors", strings.Join(errors[max(0, len(errors)-5):], ""))
})
