// Package replicas tests several replicas of the ACME server behind a balancer that sends each request to another one.
package replicas

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/internal/test/http01"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/test/internal/certificates"
	"github.com/acmeca/acmeca/test/internal/suite"
)

func TestReplicas(t *testing.T) { suite.Run(t, "Replicas") }

// patience bounds a spec on a busy machine.
const patience = 5 * time.Minute

var (
	acmeca    *local.Local
	cluster   client.Client
	service   *balancer
	responder *http01.Responder
	// watching ends with the suite.
	watching context.Context
	name     atomic.Int64
	leafKey  *ecdsa.PrivateKey
)

var _ = BeforeSuite(func(ctx SpecContext) {
	var stop, cancel func()
	var err error
	acmeca, stop, err = local.StartForTestWithReplicas(ctx)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(stop)
	watching, cancel = context.WithCancel(context.Background())
	DeferCleanup(cancel)
	service, err = balance(acmeca.Ports().HTTPS, acmeca.TLSDir())
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(service.close)
	for range 3 {
		startReplica(ctx)
	}
	cluster = acmeca.Client()
	responder = suite.Respond(acmeca.Ports().HTTP01)
	leafKey = certificates.NewKey()
})

func startReplica(ctx context.Context) *local.Replica {
	GinkgoHelper()
	r, err := acmeca.StartReplica(ctx)
	Expect(err).NotTo(HaveOccurred())
	service.add(watching, r)
	return r
}

// httpClient returns a client that trusts the issuer's CA.
func httpClient() *http.Client {
	GinkgoHelper()
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: suite.Roots(acmeca), MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 4,
	}}
}

// newName returns an unused name that resolves to loopback.
func newName() string { return fmt.Sprintf("r%d.test", name.Add(1)) }
