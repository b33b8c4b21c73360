// Package abuse attacks the running ACME server while a well-behaved client gets its certificates: the attacks try to
// stop the server or to bypass its checks. Each spec reports the latency of the well-behaved client. The latency is
// not asserted, because it depends on the machine.
package abuse

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/acmeca/acmeca/internal/test/acmeclient"
	"github.com/acmeca/acmeca/internal/test/container"
	"github.com/acmeca/acmeca/internal/test/http01"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/test/internal/certificates"
	"github.com/acmeca/acmeca/test/internal/programs"
	"github.com/acmeca/acmeca/test/internal/suite"
)

func TestAbuse(t *testing.T) { suite.Run(t, "Abuse") }

var (
	acmeca    *local.Local
	server    *local.Replica
	kube      client.Client
	responder *http01.Responder
	roots     *x509.CertPool
	names     atomic.Int64
	// pprofAddress is the ACME server's pprof address.
	pprofAddress string
)

var _ = BeforeSuite(func(ctx SpecContext) {
	logf.SetLogger(GinkgoLogr)
	pprofAddress = fmt.Sprintf("127.0.0.1:%d", programs.FreePort())
	acmeca, server = suite.StartContained(ctx, "--pprof-listen", pprofAddress)
	responder = suite.Respond(acmeca.Ports().HTTP01)
	roots = suite.Roots(acmeca)
	kube = acmeca.Client()
	meanwhile(ctx, func() {}) // goroutines started by the first certificates stay
})

// goroutines returns the number of the ACME server's goroutines.
func goroutines() int {
	GinkgoHelper()
	response, err := http.Get("http://" + pprofAddress + "/debug/pprof/goroutine?debug=1")
	Expect(err).NotTo(HaveOccurred())
	defer response.Body.Close()
	var count int
	_, err = fmt.Fscanf(response.Body, "goroutine profile: total %d", &count)
	Expect(err).NotTo(HaveOccurred())
	return count
}

// leaveNothing checks that the ACME server has no more goroutines after a spec than before, once the spec's connections
// are closed.
func leaveNothing() {
	GinkgoHelper()
	http.DefaultClient.CloseIdleConnections()
	before := goroutines()
	DeferCleanup(func() {
		Eventually(goroutines).WithTimeout(2*time.Minute).WithPolling(100*time.Millisecond).Should(BeNumerically("<=", before), "goroutines left by a spec")
	})
}

var _ = suite.ShowLog(&acmeca)

// Both halves survive every spec within their memory limits.
var _ = AfterEach(func() {
	for _, half := range acmeca.Halves() {
		usage, err := container.UsageOf(half.Process.PID())
		Expect(err).NotTo(HaveOccurred(), "the %s has ended", half.Half)
		Expect(usage.Peak).To(BeNumerically("<", half.Limit), "bytes of the %s at the peak", half.Half)
	}
	for _, log := range readLogs() {
		Expect(log).NotTo(ContainSubstring("panic"))
	}
})

// readLogs returns the logs of both halves.
func readLogs() (logs []string) {
	GinkgoHelper()
	for _, file := range []string{acmeca.OperatorLog(), server.Log()} {
		text, err := os.ReadFile(file)
		Expect(err).NotTo(HaveOccurred())
		logs = append(logs, string(text))
	}
	return logs
}

func freshName() string { return fmt.Sprintf("n%d.abuse.test", names.Add(1)) }

// from returns a transport to the ACME server from an address of loopback. Well-behaved clients use 127.0.0.1.
func from(address string) *http.Transport {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	transport := &http.Transport{DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	DeferCleanup(transport.CloseIdleConnections)
	return transport
}

// attacker is the address of attackers, who have other addresses than well-behaved clients.
const attacker = "127.0.0.66"

// account registers an account from an address.
func account(ctx context.Context, address string) *acmeclient.Client {
	GinkgoHelper()
	return accountAt(ctx, address, acmeca.DirectoryURL())
}

func accountAt(ctx context.Context, address, directory string) *acmeclient.Client {
	GinkgoHelper()
	c, err := acmeclient.New(ctx, &http.Client{Transport: from(address), Timeout: 30 * time.Second}, directory, responder, 10*time.Millisecond)
	Expect(err).NotTo(HaveOccurred())
	return c
}

// meanwhile runs a well-behaved client during the attack, for at least a few certificates, and reports the time of
// each.
func meanwhile(ctx context.Context, attack func()) {
	GinkgoHelper()
	behaved := acmeclient.NewPersistent(&http.Client{Transport: from("127.0.0.1"), Timeout: 30 * time.Second}, responder, 10*time.Millisecond)
	Expect(behaved.Register(ctx, acmeca.DirectoryURL())).To(Succeed())
	key := certificates.NewKey()
	over := make(chan struct{})
	var attacking sync.WaitGroup
	attacking.Go(func() {
		defer GinkgoRecover()
		defer close(over)
		attack()
	})
	var took []time.Duration
	for going := true; going || len(took) < 3; {
		began := time.Now()
		_, err := behaved.Issue(ctx, key, freshName())
		Expect(err).NotTo(HaveOccurred(), "a well-behaved client, during the attack")
		took = append(took, time.Since(began).Round(time.Millisecond))
		select {
		case <-over:
			going = false
		default:
		}
	}
	attacking.Wait()
	slices.Sort(took)
	AddReportEntry("issuance during the attack", fmt.Sprintf("%d certificates, median %s, slowest %s", len(took), took[len(took)/2], took[len(took)-1]))
}

// residentKiB returns the ACME server's resident memory.
func residentKiB() int {
	GinkgoHelper()
	usage, err := container.UsageOf(server.PID())
	Expect(err).NotTo(HaveOccurred())
	return int(usage.Now >> 10)
}
