// Package matrix runs ACME clients against a running acmeca, each through the same scenarios, and keeps docs/clients.md
// equal to the results.
//
// A client is a value of type acmeClient in a file of its own. It declares the outcome of each scenario, and the suite
// fails where the outcome differs. ACMECA_CLIENTS picks clients by name, separated by commas.
package matrix

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/test/internal/programs"
	"github.com/acmeca/acmeca/test/internal/suite"
)

func TestMatrix(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "Matrix of clients")
}

var (
	acmeca  *local.Local
	cluster client.Client // with every right
	answers *front
	runs    = map[string]*run{} // by the client's name
)

var _ = BeforeSuite(func(ctx SpecContext) {
	acmeca = suite.Start(ctx)
	cluster = acmeca.Client()
	var err error
	answers, err = startFront()
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(answers.stop)
	DeferCleanup(func() {
		for _, proxy := range busyProxies {
			proxy.stop()
		}
	})
	Expect(createIssuers(ctx)).To(Succeed())
})

var _ = suite.ShowLog(&acmeca)

// acmeClients are the rows of the matrix, in its order.
var acmeClients = []*acmeClient{
	certbot, lego, lego5, dehydrated, uacme, acmeTiny, lacme, acmetool, rubyClient, nodeClient,
	caddy, modMD, stepCLI, haproxy, acmesh, getssl, xcrypto, autocertManager, acmezClient, certmagicClient,
}

// picked reports whether ACMECA_CLIENTS has a client, or is empty.
func picked(name string) bool {
	names := os.Getenv("ACMECA_CLIENTS")
	return names == "" || slices.Contains(strings.Split(names, ","), name)
}

var _ = Describe("The matrix", Ordered, ContinueOnFailure, func() {
	BeforeAll(func() {
		for _, c := range acmeClients {
			if picked(c.name) && c.missing() == "" {
				runs[c.name] = start(c)
			}
		}
		DeferCleanup(stopAll)
	})
	for _, c := range acmeClients {
		for _, scenario := range scenarios {
			It(c.name+": "+scenario.title, func(ctx SpecContext) {
				if !picked(c.name) {
					Skip("ACMECA_CLIENTS leaves this client out")
				}
				expected, declared := c.expect[scenario.id]
				Expect(declared).To(BeTrue(), "%s declares no outcome", c.name)
				if expected.verdict == notRun {
					Skip(expected.note)
				}
				if missing := c.missing(); missing != "" {
					programs.Lack(missing)
				}
				actual := runs[c.name].wait(ctx, scenario.id)
				Expect(actual.verdict).To(Equal(expected.verdict), "%v", actual.err)
			}, SpecTimeout(4*time.Minute))
		}
	}

	It("is written to docs/clients.md on request", func(ctx SpecContext) {
		path := os.Getenv("ACMECA_CLIENTS_MATRIX")
		if path == "" {
			Skip("ACMECA_CLIENTS_MATRIX names no file")
		}
		Expect(writeMatrix(ctx, path)).To(Succeed())
	}, SpecTimeout(time.Minute))
})
