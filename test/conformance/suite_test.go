// Package conformance checks the running server against the RFCs. Its client sends exactly the requests of a spec,
// valid or not.
package conformance

import (
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/internal/test/http01"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/test/internal/suite"
)

func TestConformance(t *testing.T) { suite.Run(t, "Conformance") }

var (
	running *local.Local
	kube    client.Client
	// responder answers http-01 for every name.
	responder *http01.Responder
)

var _ = BeforeSuite(func(ctx SpecContext) {
	running = suite.Start(ctx)
	Expect(running.DropFieldManagers(ctx)).To(Succeed())
	kube = running.Client()
	responder = suite.Respond(running.Ports().HTTP01)
})

var _ = suite.ShowLog(&running)
