package abuse

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"
)

func dialFrom(address string, port int) (net.Conn, error) {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Timeout: 5 * time.Second}
	return dialer.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
}

// clientHello returns the first message of a TLS connection that offers protocols.
func clientHello(protocols ...string) []byte {
	GinkgoHelper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	go func() {
		_ = tls.Client(theirs, &tls.Config{ServerName: "127.0.0.1", RootCAs: roots, NextProtos: protocols}).Handshake()
	}() // the handshake gets no answer
	hello := make([]byte, 16<<10)
	n, err := ours.Read(hello)
	Expect(err).NotTo(HaveOccurred())
	return hello[:n]
}

// endsByItself reports whether the peer ends a connection before its deadline.
func endsByItself(conn net.Conn) bool {
	_, err := io.Copy(io.Discard, conn)
	var timeout net.Error
	return !errors.As(err, &timeout) || !timeout.Timeout()
}

var _ = Describe("Connections", func() {
	BeforeEach(leaveNothing)

	It("that are idle, ten thousand of them, do not lock out other clients", func(ctx SpecContext) {
		var limit unix.Rlimit
		Expect(unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)).To(Succeed())
		limit.Cur = limit.Max
		Expect(unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)).To(Succeed())
		count := min(10000, int(limit.Max)/2-500)
		meanwhile(ctx, func() {
			var conns []net.Conn
			for i := range count {
				// Many addresses are used, so that the bound of each address does not matter.
				conn, err := dialFrom(fmt.Sprintf("127.0.1.%d", 1+i%20), acmeca.Ports().HTTPS)
				if err == nil {
					conns = append(conns, conn)
				}
			}
			AddReportEntry("idle connections", len(conns))
			Expect(len(conns)).To(BeNumerically(">", count*9/10))
			for _, conn := range conns {
				_ = conn.Close()
			}
		})
	}, SpecTimeout(3*time.Minute))

	It("that stall in the handshake, or send a header or a body byte by byte, do not lock out other clients, and are closed (slowloris)", func(ctx SpecContext) {
		const slow = 300
		hello := clientHello("acme-tls/1", "h2")
		meanwhile(ctx, func() {
			var ended atomic.Int32
			var all sync.WaitGroup
			for i := range slow {
				all.Go(func() {
					raw, err := dialFrom(attacker, acmeca.Ports().HTTPS)
					if err != nil {
						ended.Add(1)
						return
					}
					if i%3 == 0 {
						defer raw.Close()
						_ = raw.SetDeadline(time.Now().Add(time.Minute))
						if _, err := raw.Write(hello); err != nil || endsByItself(raw) {
							ended.Add(1)
						}
						return
					}
					conn := tls.Client(raw, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"})
					defer conn.Close()
					request := "POST /acme/new-order HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/jose+json\r\n"
					if i%2 == 0 {
						request += "Content-Length: 60000\r\n\r\n"
					}
					_ = conn.SetDeadline(time.Now().Add(time.Minute))
					if _, err := conn.Write([]byte(request)); err != nil {
						ended.Add(1)
						return
					}
					go func() {
						for {
							select {
							case <-ctx.Done():
								return
							case <-time.After(time.Second):
								if _, err := conn.Write([]byte("a")); err != nil {
									return
								}
							}
						}
					}()
					if endsByItself(conn) {
						ended.Add(1)
					}
				})
			}
			all.Wait()
			Expect(int(ended.Load())).To(Equal(slow), "connections that the server didn't end within a minute")
		})
	}, SpecTimeout(3*time.Minute))
})

var _ = Describe("Floods", func() {
	BeforeEach(leaveNothing)

	flood := func(ctx context.Context, length time.Duration, send func(*http.Client, int) (int, error)) map[int]int {
		answers := map[int]int{}
		var mu sync.Mutex
		var all sync.WaitGroup
		end := time.Now().Add(length)
		for worker := range 32 {
			all.Go(func() {
				h := &http.Client{Transport: from(attacker), Timeout: 10 * time.Second}
				for n := 0; time.Now().Before(end) && ctx.Err() == nil; n++ {
					status, err := send(h, worker*1000000+n)
					mu.Lock()
					if err != nil {
						status = 0
					}
					answers[status]++
					mu.Unlock()
				}
			})
		}
		all.Wait()
		return answers
	}
	post := func(h *http.Client, url string, body io.Reader) (int, error) {
		response, err := h.Post(url, "application/jose+json", body)
		if err != nil {
			return 0, err
		}
		defer response.Body.Close()
		_, err = io.Copy(io.Discard, response.Body)
		return response.StatusCode, err
	}
	const length = 3 * time.Second

	DescribeTable("of requests are answered, and leave room for other clients", func(ctx SpecContext, send func(*http.Client, string) (int, error), allowed ...int) {
		meanwhile(ctx, func() {
			answers := flood(ctx, length, func(h *http.Client, _ int) (int, error) { return send(h, acmeca.BaseURL()+"/acme/") })
			AddReportEntry("answers by status", fmt.Sprint(answers))
			for status := range answers {
				Expect(append(allowed, 503)).To(ContainElement(status))
			}
		})
	},
		Entry("for the directory", func(h *http.Client, base string) (int, error) {
			response, err := h.Get(base + "directory")
			if err != nil {
				return 0, err
			}
			defer response.Body.Close()
			_, err = io.Copy(io.Discard, response.Body)
			return response.StatusCode, err
		}, 200),
		Entry("of 64 KiB each", func(h *http.Client, base string) (int, error) {
			return post(h, base+"new-order", strings.NewReader(`{"protected":"`+strings.Repeat("A", 65000)+`","payload":"","signature":"AAAA"}`))
		}, 400, 413),
		Entry("of deep JSON", func(h *http.Client, base string) (int, error) {
			return post(h, base+"new-order", strings.NewReader(strings.Repeat("[", 60000)))
		}, 400),
	)

	It("of nonces need no memory", func(ctx SpecContext) {
		before := residentKiB()
		meanwhile(ctx, func() {
			answers := flood(ctx, length, func(h *http.Client, _ int) (int, error) {
				response, err := h.Head(acmeca.BaseURL() + "/acme/new-nonce")
				if err != nil {
					return 0, err
				}
				return response.StatusCode, response.Body.Close()
			})
			AddReportEntry("nonces", answers[200])
		})
		after := residentKiB()
		AddReportEntry("memory in KiB", fmt.Sprintf("%d before, %d after", before, after))
		Expect(after-before).To(BeNumerically("<", 200<<10), "KiB more after a flood of nonces")
	})
})
