package validation

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/controllers/validation/network"
)

// tunnel copies between two connections until one of them is closed.
func tunnel(a, b net.Conn) {
	go func() {
		_, _ = io.Copy(a, b)
		a.Close()
	}()
	_, _ = io.Copy(b, a)
	b.Close()
}

// httpProxy starts an HTTP proxy with CONNECT, which follows the world's routes.
func (w *world) httpProxy(credentials string) string {
	return serveHTTP(w.t, func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Header.Get("Proxy-Authorization") != credentials {
			http.Error(rw, "no", http.StatusProxyAuthRequired)
			return
		}
		target, err := w.dial(r.Context(), "tcp", r.RequestURI)
		if err != nil {
			http.Error(rw, "no", http.StatusBadGateway)
			return
		}
		client, _, err := rw.(http.Hijacker).Hijack()
		if err != nil {
			w.t.Error(err)
			return
		}
		fmt.Fprint(client, "HTTP/1.1 200 OK\r\n\r\n")
		tunnel(client, target)
	})
}

// socksProxy starts a SOCKS proxy, without or with a password (RFC 1928, RFC 1929).
func (w *world) socksProxy(credentials string) string {
	return serveRaw(w.t, func(conn net.Conn) {
		from := bufio.NewReader(conn)
		read := func(n int) []byte {
			b := make([]byte, n)
			_, _ = io.ReadFull(from, b)
			return b
		}
		read(int(read(2)[1])) // version and methods
		if credentials == "" {
			_, _ = conn.Write([]byte{5, 0})
		} else {
			_, _ = conn.Write([]byte{5, 2})
			name := string(read(int(read(2)[1])))
			password := string(read(int(read(1)[0])))
			if name+":"+password != credentials {
				_, _ = conn.Write([]byte{1, 1})
				return
			}
			_, _ = conn.Write([]byte{1, 0})
		}
		size := map[byte]int{1: 4, 4: 16}[read(4)[3]]
		addr, _ := netip.AddrFromSlice(read(size))
		target, err := w.dial(context.Background(), "tcp", netip.AddrPortFrom(addr, binary.BigEndian.Uint16(read(2))).String())
		if err != nil {
			_, _ = conn.Write([]byte{5, 5, 0, 1, 0, 0, 0, 0, 0, 0}) // connection refused
			return
		}
		_, _ = conn.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
		tunnel(conn, target)
	})
}

// through returns a validator whose only egress is the proxy.
func (w *world) through(p network.Proxy) *Validator {
	w.t.Helper()
	dial, err := p.Dialer()
	if err != nil {
		w.t.Fatal(err)
	}
	v := w.validator()
	v.dial = dial
	return v
}

func TestProxies(t *testing.T) {
	zone := []string{"a.test. A 192.0.2.1", "a.test. AAAA 2001:db8::1", "no.test. A 192.0.2.9", "lo.test. A 127.0.0.1"}
	newProxyWorld := func(t *testing.T) *world {
		w := newWorld(t, zone...)
		w.http(keyAuthorizationServer, "192.0.2.1:80", "[2001:db8::2]:80")
		return w
	}
	for name, start := range map[string]func(*world) network.Proxy{
		"HTTP": func(w *world) network.Proxy { return network.Proxy{URL: "http://" + w.httpProxy("")} },
		"HTTP with a password": func(w *world) network.Proxy {
			return network.Proxy{URL: "http://" + w.httpProxy("Basic bWU6cHc="), Username: "me", Password: "pw"}
		},
		"SOCKS": func(w *world) network.Proxy { return network.Proxy{URL: "socks5://" + w.socksProxy("")} },
		"SOCKS with password": func(w *world) network.Proxy {
			return network.Proxy{URL: "socks5://" + w.socksProxy("me:pw"), Username: "me", Password: "pw"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newProxyWorld(t)
			v := w.through(start(w))
			expectation{}.check(t, v.Validate(t.Context(), dnsRequest(acme.HTTP01, "a.test")))
			expectation{}.check(t, v.Validate(t.Context(), ipRequest(acme.HTTP01, "2001:db8::2")))
			// The proxy gets addresses alone, and only permitted ones.
			equal(t, "dials", w.dials, []string{"[2001:db8::1]:80", "192.0.2.1:80", "[2001:db8::2]:80"})
			w.dials = nil
			expectation{problem: acme.Connection, detail: "loopback"}.check(t, v.Validate(t.Context(), dnsRequest(acme.HTTP01, "lo.test")))
			equal(t, "dials", w.dials, nil)
			expectation{problem: acme.Connection, transient: true, detail: "connecting to 192.0.2.9:80: the egress proxy "}.
				check(t, v.Validate(t.Context(), dnsRequest(acme.HTTP01, "no.test")))
		})
	}
}

func TestProxyFailures(t *testing.T) {
	says := func(text string) func(net.Conn) {
		return func(conn net.Conn) {
			_, _ = conn.Read(make([]byte, 1024))
			_, _ = io.WriteString(conn, text)
		}
	}
	for name, c := range map[string]struct {
		scheme string
		raw    func(net.Conn)
		detail string
	}{
		"another status":            {"http", says("HTTP/1.1 403 SECRET\r\n\r\nSECRET"), "answered with HTTP status 403"},
		"no HTTP":                   {"http", says("SECRET\r\n\r\n"), "sent an invalid response"},
		"endless":                   {"http", func(c net.Conn) { io.Copy(c, endless("HTTP/1.1 200 OK\r\n", "a: b\r\n")) }, "sent an invalid response"},
		"closed":                    {"http", func(net.Conn) {}, "the egress proxy "},
		"no SOCKS":                  {"socks5", says("SECRET"), "the egress proxy "},
		"SOCKS closed":              {"socks5", func(net.Conn) {}, "sent an invalid response"},
		"a password that is wanted": {"socks5", says("\x05\xff"), "no acceptable authentication methods"},
		"SOCKS refuses":             {"socks5", func(c net.Conn) { says("\x05\x00")(c); says("\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00")(c) }, "refused: connection not allowed by ruleset"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "a.test. A 192.0.2.1")
			got := w.through(network.Proxy{URL: c.scheme + "://" + serveRaw(t, c.raw)}).Validate(t.Context(), dnsRequest(acme.HTTP01, "a.test"))
			expectation{problem: acme.Connection, transient: true, detail: c.detail}.check(t, got)
			if strings.Contains(got.Problem.Detail, "SECRET") {
				t.Errorf("tells what the proxy said: %s", got.Problem.Detail)
			}
		})
	}
	for _, scheme := range []string{"http", "socks5"} {
		t.Run("none there: "+scheme, func(t *testing.T) {
			w := newWorld(t, "a.test. A 192.0.2.1")
			expectation{problem: acme.Connection, transient: true, detail: "the egress proxy is unreachable: connection refused"}.
				check(t, w.through(network.Proxy{URL: scheme + "://127.0.0.1:1"}).Validate(t.Context(), dnsRequest(acme.HTTP01, "a.test")))
		})
		t.Run("silent: "+scheme, func(t *testing.T) {
			w := newWorld(t, "a.test. A 192.0.2.1")
			w.config.Timeout = 100 * time.Millisecond
			address := serveRaw(t, func(c net.Conn) { io.Copy(io.Discard, c) })
			expectation{problem: acme.Connection, transient: true, detail: "timed out"}.
				check(t, w.through(network.Proxy{URL: scheme + "://" + address}).Validate(t.Context(), dnsRequest(acme.HTTP01, "a.test")))
		})
		t.Run("black hole: "+scheme, func(t *testing.T) {
			w := newWorld(t, "a.test. A 192.0.2.1")
			w.config.Timeout = 100 * time.Millisecond
			p := network.Proxy{URL: scheme + "://192.0.2.2:3128", Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, fmt.Errorf("dial: %w", ctx.Err())
			}}
			expectation{problem: acme.Connection, transient: true, detail: "timed out"}.
				check(t, w.through(p).Validate(t.Context(), dnsRequest(acme.HTTP01, "a.test")))
		})
	}
}

// endless returns an endless text.
func endless(first, again string) io.Reader {
	return io.MultiReader(strings.NewReader(first), repeat(again))
}

type repeat string

func (r repeat) Read(b []byte) (int, error) { return copy(b, strings.Repeat(string(r), 100)), nil }

// Data that the target sends first is not lost, though it arrives together with the proxy's response.
func TestProxyKeepsEarlyWords(t *testing.T) {
	address := serveRaw(t, func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nhello") })
	dial, err := network.Proxy{URL: "http://" + address}.Dialer()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := dial(t.Context(), "tcp", "192.0.2.1:80")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if said, _ := io.ReadAll(conn); string(said) != "hello" {
		t.Errorf("heard %q", said)
	}
}

func TestProxyIsDialledByItsDialer(t *testing.T) {
	var dialled atomic.Value
	p := network.Proxy{URL: "socks5://proxy.test:1080", Dial: func(_ context.Context, network, address string) (net.Conn, error) {
		dialled.Store(network + " " + address)
		return nil, io.EOF
	}}
	dial, err := p.Dialer()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dial(t.Context(), "tcp", "192.0.2.1:80"); err == nil || dialled.Load() != "tcp proxy.test:1080" {
		t.Errorf("got %v, dialled %v", err, dialled.Load())
	}
}

func TestProxyRefuses(t *testing.T) {
	for _, u := range []string{"", "proxy:3128", "http://proxy", "https://proxy:3128", "ftp://proxy:21", "http://me:pw@proxy:3128",
		"http://proxy:3128/path", "http://proxy:3128?x", "http://:3128", "socks5h://proxy:1080", "http://proxy:99999999999999"} {
		if _, err := (network.Proxy{URL: u}).Dialer(); err == nil || strings.Contains(err.Error(), "pw") {
			t.Errorf("%q: got %v", u, err)
		}
	}
}
