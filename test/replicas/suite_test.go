// Package replicas tests several replicas of the ACME server behind a balancer that sends each request to another one.
package replicas

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/internal/test/acmeclient"
	"github.com/acmeca/acmeca/internal/test/local"
)

func TestReplicas(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "Replicas")
}

// patience bounds a spec on a busy machine.
const patience = 5 * time.Minute

var (
	acmeca    *local.Local
	cluster   client.Client
	service   *balancer
	responder = &acmeclient.Responder{Keep: true}
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
	server, err := responder.Serve(acmeca.Ports().HTTP01)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(server.Close)
	leafKey, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	Expect(err).NotTo(HaveOccurred())
})

func startReplica(ctx context.Context) *local.Replica {
	GinkgoHelper()
	r, err := acmeca.StartReplica(ctx)
	Expect(err).NotTo(HaveOccurred())
	service.add(watching, r)
	return r
}

func roots() *x509.CertPool {
	GinkgoHelper()
	text, err := os.ReadFile(acmeca.CAFile())
	Expect(err).NotTo(HaveOccurred())
	pool := x509.NewCertPool()
	Expect(pool.AppendCertsFromPEM(text)).To(BeTrue())
	return pool
}

// httpClient returns a client that trusts the issuer's CA.
func httpClient() *http.Client {
	GinkgoHelper()
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots(), MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 4,
	}}
}

// newName returns an unused name that resolves to loopback.
func newName() string { return fmt.Sprintf("r%d.test", name.Add(1)) }
