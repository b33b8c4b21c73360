package abuse

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/acmeclient"
	"github.com/acmeca/acmeca/internal/test/container"
)

// scale returns the size of an attack. ACMECA_LONG=1 selects the larger one.
func scale(short, long int) int {
	if os.Getenv("ACMECA_LONG") == "1" {
		return long
	}
	return short
}

// measured runs an attack, and reports the resident memory of both halves before, at the peak and after.
func measured(attack func()) {
	GinkgoHelper()
	before := map[int]container.Usage{}
	for _, half := range acmeca.Halves() {
		usage, err := container.UsageOf(half.Process.PID())
		Expect(err).NotTo(HaveOccurred())
		Expect(container.ResetPeak(half.Process.PID())).To(Succeed())
		before[half.Process.PID()] = usage
	}
	attack()
	for _, half := range acmeca.Halves() {
		usage, err := container.UsageOf(half.Process.PID())
		Expect(err).NotTo(HaveOccurred(), "the %s has ended", half.Half)
		AddReportEntry("memory of the "+half.Half, fmt.Sprintf("%d MiB before, %d at the peak, %d after; limit %d, enforced by the kernel: %t",
			before[half.Process.PID()].Now>>20, usage.Peak>>20, usage.Now>>20, half.Limit>>20, half.Enforced()))
		Expect(usage.Peak).To(BeNumerically("<", half.Limit))
	}
}

// together calls work with 0 to count-1, from a number of goroutines.
func together(count, goroutines int, work func(int)) {
	GinkgoHelper()
	var next atomic.Int64
	var all sync.WaitGroup
	for range goroutines {
		all.Go(func() {
			defer GinkgoRecover()
			for i := int(next.Add(1)) - 1; i < count; i = int(next.Add(1)) - 1 {
				work(i)
			}
		})
	}
	all.Wait()
}

// secured opens a TLS connection to the ACME server from one of many addresses.
func secured(i, addresses int, protocols ...string) (*tls.Conn, error) {
	raw, err := dialFrom(fmt.Sprintf("127.0.2.%d", 1+i%addresses), acmeca.Ports().HTTPS)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", NextProtos: protocols})
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if err := conn.Handshake(); err != nil {
		_ = raw.Close() // err matters more
		return nil, err
	}
	return conn, nil
}

// clones returns clients of an account, each with its own connection.
func clones(c *acmeclient.Client, count int) []*acmeclient.Client {
	all := make([]*acmeclient.Client, count)
	for i := range all {
		all[i] = c.Clone()
		all[i].HTTP = &http.Client{Transport: from(fmt.Sprintf("127.0.3.%d", 1+i%16)), Timeout: time.Minute}
	}
	return all
}

var _ = Describe("Memory stays within the limits of the manifests", Ordered, func() {
	BeforeAll(func() {
		var limit unix.Rlimit
		Expect(unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)).To(Succeed())
		limit.Cur = limit.Max
		Expect(unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)).To(Succeed())
	})

	It("with as many TLS connections as fit, and more", func(ctx SpecContext) {
		measured(func() {
			var opened, refused atomic.Int64
			var mu sync.Mutex
			var conns []net.Conn
			together(scale(4000, 10000), 16, func(i int) {
				conn, err := secured(i, 64)
				if err != nil {
					refused.Add(1)
					return
				}
				fmt.Fprintf(conn, "GET /acme/directory HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
				if _, err := conn.Read(make([]byte, 4096)); err == nil {
					opened.Add(1)
				}
				mu.Lock()
				defer mu.Unlock()
				conns = append(conns, conn)
			})
			meanwhile(ctx, func() {})
			AddReportEntry("connections", fmt.Sprintf("%d answered, %d refused", opened.Load(), refused.Load()))
			for _, conn := range conns {
				_ = conn.Close()
			}
		})
	}, SpecTimeout(8*time.Minute))

	It("with thousands of slow bodies from four addresses", func(ctx SpecContext) {
		measured(func() {
			var mu sync.Mutex
			var conns []net.Conn
			together(scale(2000, 4000), 16, func(i int) {
				conn, err := secured(i, 4)
				if err != nil {
					return
				}
				fmt.Fprintf(conn, "POST /acme/new-order HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/jose+json\r\nContent-Length: 65000\r\n\r\n%s",
					strings.Repeat("A", 60000))
				mu.Lock()
				defer mu.Unlock()
				conns = append(conns, conn)
			})
			meanwhile(ctx, func() {})
			AddReportEntry("slow bodies", len(conns))
			for _, conn := range conns {
				_ = conn.Close()
			}
		})
	}, SpecTimeout(8*time.Minute))

	It("with padded requests for many authorizations of one account, and lists of its orders", func(ctx SpecContext) {
		orders, names := scale(20, 60), 100
		directory := otherIssuer(ctx, "padded", func(s *v1alpha1.AcmeIssuerSpec) {
			s.Account.MaxPendingOrders, s.Account.MaxPendingAuthorizations = 5000, 10000
		})
		c := accountAt(ctx, attacker, directory)
		workers := clones(c, 8)
		measured(func() {
			var refused atomic.Int64
			together(orders, len(workers), eachWith(workers, func(c *acmeclient.Client) {
				all := make([]string, names)
				for i := range all {
					all[i] = freshName()
				}
				o, err := c.NewOrder(ctx, all...)
				Expect(err).NotTo(HaveOccurred())
				for _, url := range o.Authorizations {
					respondPadded(ctx, c, url, &refused)
				}
			}))
			AddReportEntry("padded responses", fmt.Sprintf("%d, %d refused", orders*names, refused.Load()))
		})
		measured(func() {
			together(scale(1000, 12000), len(workers), eachWith(workers, func(c *acmeclient.Client) {
				_, err := c.NewOrder(ctx, freshName())
				Expect(err).NotTo(HaveOccurred())
			}))
		})
		readers := clones(c, 64)
		measured(func() {
			var pages atomic.Int64
			together(scale(256, 600), len(readers), eachWith(readers, func(c *acmeclient.Client) {
				for url := c.URL() + "/orders"; url != ""; pages.Add(1) {
					_, header, err := c.Post(ctx, url, nil)
					if err != nil {
						Expect(problem(err).Status).To(Equal(http.StatusServiceUnavailable))
						return
					}
					url = next(header)
				}
			}))
			AddReportEntry("pages of orders", pages.Load())
		})
	}, SpecTimeout(15*time.Minute))

	It("with many accounts", func(ctx SpecContext) {
		measured(func() {
			together(scale(300, 3000), 16, func(i int) {
				account(ctx, fmt.Sprintf("127.0.4.%d", 1+i%64))
			})
		})
	}, SpecTimeout(8*time.Minute))
})

// eachWith calls work with a free client. Each client is used by one goroutine at a time.
func eachWith(clients []*acmeclient.Client, work func(*acmeclient.Client)) func(int) {
	free := make(chan *acmeclient.Client, len(clients))
	for _, c := range clients {
		free <- c
	}
	return func(int) {
		c := <-free
		defer func() { free <- c }()
		work(c)
	}
}

// respondPadded responds to an authorization's first challenge with as much padding as a client may send, and then with more.
func respondPadded(ctx context.Context, c *acmeclient.Client, url string, refused *atomic.Int64) {
	GinkgoHelper()
	body, _, err := c.Post(ctx, url, nil)
	Expect(err).NotTo(HaveOccurred())
	var authz acmeclient.Authorization
	Expect(json.Unmarshal(body, &authz)).To(Succeed())
	for _, padding := range []int{60000, 340} {
		if _, _, err = c.Post(ctx, authz.Challenges[0].URL, map[string]string{"padding": strings.Repeat("A", padding)}); err != nil {
			refused.Add(1)
		}
	}
}

// next returns the URL of the next page, or "".
func next(header http.Header) string {
	for _, link := range header.Values("Link") {
		if url, found := strings.CutSuffix(link, ">;rel=\"next\""); found {
			return strings.TrimPrefix(url, "<")
		}
	}
	return ""
}
