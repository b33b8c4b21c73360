// As in cmd/acmeca.
//
//go:debug x509negativeserial=1

package validation

import (
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/controllers/validation/network"
)

func body(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, s) }
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func TestHTTP01Answers(t *testing.T) {
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    expectation
	}{
		"the key authorization":       {keyAuthorizationServer, expectation{}},
		"with whitespace at the end":  {body(testKeyAuth + " \r\n\t\n"), expectation{}},
		"with a long tail of blanks":  {body(testKeyAuth + strings.Repeat("\n", 41)), expectation{}},
		"with too long a tail":        {body(testKeyAuth + strings.Repeat("\n", 42)), expectation{problem: acme.IncorrectResponse}},
		"with whitespace in front":    {body(" " + testKeyAuth), expectation{problem: acme.IncorrectResponse}},
		"with more after it":          {body(testKeyAuth + "x"), expectation{problem: acme.IncorrectResponse}},
		"with a NUL after it":         {body(testKeyAuth + "\x00"), expectation{problem: acme.IncorrectResponse}},
		"with more after whitespace":  {body(testKeyAuth + "\n" + testKeyAuth), expectation{problem: acme.IncorrectResponse}},
		"in another case":             {body(strings.ToUpper(testKeyAuth)), expectation{problem: acme.IncorrectResponse}},
		"the token alone":             {body(testToken), expectation{problem: acme.IncorrectResponse}},
		"another account's":           {body(testToken + ".AAAA"), expectation{problem: acme.IncorrectResponse}},
		"an empty body":               {body(""), expectation{problem: acme.IncorrectResponse}},
		"a web page":                  {body("<html>\x1b[31mhello"), expectation{problem: acme.IncorrectResponse, detail: `"<html>?[31mhello"`}},
		"not found":                   {http.NotFound, expectation{problem: acme.Unauthorized, detail: "404", transient: true}},
		"gone":                        {status(http.StatusGone), expectation{problem: acme.Unauthorized, detail: "410"}},
		"no content":                  {status(http.StatusNoContent), expectation{problem: acme.Unauthorized, detail: "204"}},
		"a gateway without a backend": {status(http.StatusServiceUnavailable), expectation{problem: acme.Unauthorized, detail: "503", transient: true}},
		"the right body with status 203": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNonAuthoritativeInfo)
			io.WriteString(w, testKeyAuth)
		}, expectation{problem: acme.Unauthorized, detail: "203"}},
		"an endless body": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, strings.Repeat("x", 1000)); err != nil {
					return
				}
			}
		}, expectation{problem: acme.IncorrectResponse}},
		"a huge header": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Huge", strings.Repeat("x", 1<<20))
			io.WriteString(w, testKeyAuth)
		}, expectation{problem: acme.IncorrectResponse, detail: "header of the response is too long"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "a.test. A 192.0.2.1")
			w.http(c.handler, "192.0.2.1:80")
			got := w.validator().Validate(t.Context(), dnsRequest(acme.HTTP01, "a.test"))
			c.want.check(t, got)
			if strings.Contains(fmt.Sprint(got.Problem), strings.Repeat("x", maxBodyShown)) {
				t.Errorf("the problem repeats more than a prefix: %v", got.Problem)
			}
		})
	}
}

func TestHTTP01Record(t *testing.T) {
	w := newWorld(t, "a.test. CNAME b.test.", "b.test. A 192.0.2.1", "b.test. AAAA 2001:db8::1")
	w.http(keyAuthorizationServer, "[2001:db8::1]:80")
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	w.config.Now = func() time.Time { now = now.Add(time.Second); return now }
	got := w.validator().Validate(t.Context(), dnsRequest(acme.HTTP01, "a.test"))
	expectation{}.check(t, got)
	equal(t, "addresses", got.Record.Addresses, []string{"2001:db8::1", "192.0.2.1"})
	equal(t, "URLs", got.Record.URLs, []string{"http://a.test/.well-known/acme-challenge/" + testToken})
	equal(t, "records", got.Record.Records, []string{"CNAME b.test."})
	if got.Record.AddressUsed != "[2001:db8::1]:80" || got.Record.Resolver != w.config.Resolvers[0] {
		t.Errorf("got address %s and resolver %s", got.Record.AddressUsed, got.Record.Resolver)
	}
	if got.Record.DurationMillis != 1000 || !got.Record.Time.Equal(now.Add(-time.Second)) {
		t.Errorf("got time %v and duration %d", got.Record.Time, got.Record.DurationMillis)
	}
}

func TestHTTP01Request(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://192.0.2.99:3128")
	for _, c := range []struct {
		request   Request
		port      int
		at, hosts string
	}{
		{dnsRequest(acme.HTTP01, "a.test"), 0, "192.0.2.1:80", "a.test"},
		{dnsRequest(acme.HTTP01, "a.test"), 5002, "192.0.2.1:5002", "a.test:5002"},
		{ipRequest(acme.HTTP01, "192.0.2.7"), 0, "192.0.2.7:80", "192.0.2.7"},
		{ipRequest(acme.HTTP01, "2001:db8::7"), 0, "[2001:db8::7]:80", "[2001:db8::7]"},
		{ipRequest(acme.HTTP01, "2001:db8::7"), 5002, "[2001:db8::7]:5002", "[2001:db8::7]:5002"},
	} {
		t.Run(c.at, func(t *testing.T) {
			w := newWorld(t, "a.test. A 192.0.2.1")
			w.config.HTTPPort = c.port
			w.http(func(w http.ResponseWriter, r *http.Request) {
				if r.Host != c.hosts || r.Method != http.MethodGet || r.ContentLength != 0 {
					t.Errorf("got %s to host %q with %d bytes", r.Method, r.Host, r.ContentLength)
				}
				want := http.Header{
					"User-Agent": {network.UserAgent}, "Accept": {"*/*"}, "Accept-Encoding": {"identity"}, "Connection": {"close"},
				}
				if fmt.Sprint(r.Header) != fmt.Sprint(want) {
					t.Errorf("got header %v", r.Header)
				}
				keyAuthorizationServer(w, r)
			}, c.at)
			expectation{}.check(t, w.validator().Validate(t.Context(), c.request))
			equal(t, "dials", w.dials, []string{c.at})
		})
	}
}

// A server may compress any answer to a request that doesn't refuse it (RFC 9110 section 12.5.3).
func TestHTTP01RefusesCompression(t *testing.T) {
	w := newWorld(t, "a.test. A 192.0.2.1")
	w.http(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") == "identity" {
			keyAuthorizationServer(w, r)
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		defer z.Close()
		io.WriteString(z, testKeyAuth)
	}, "192.0.2.1:80")
	expectation{}.check(t, w.validator().Validate(t.Context(), dnsRequest(acme.HTTP01, "a.test")))
}

func TestHTTP01TriesIPv4AfterIPv6(t *testing.T) {
	zone := []string{"a.test. AAAA 2001:db8::1", "a.test. AAAA 2001:db8::2", "a.test. AAAA 2001:db8::3", "a.test. A 192.0.2.1"}
	t.Run("refused", func(t *testing.T) {
		w := newWorld(t, zone...)
		w.http(keyAuthorizationServer, "192.0.2.1:80")
		expectation{}.check(t, w.validator().Validate(t.Context(), dnsRequest(acme.HTTP01, "a.test")))
		equal(t, "dials", w.dials, []string{"[2001:db8::1]:80", "[2001:db8::2]:80", "192.0.2.1:80"})
	})
	t.Run("all refused", func(t *testing.T) {
		w := newWorld(t, zone...)
		expectation{problem: acme.Connection, transient: true, detail: "connecting to 192.0.2.1:80: connection refused"}.
			check(t, w.validator().Validate(t.Context(), dnsRequest(acme.HTTP01, "a.test")))
	})
	t.Run("an answer is not tried elsewhere", func(t *testing.T) {
		w := newWorld(t, zone...)
		w.http(http.NotFound, "[2001:db8::1]:80")
		w.http(keyAuthorizationServer, "192.0.2.1:80")
		expectation{problem: acme.Unauthorized, transient: true}.check(t, w.validator().Validate(t.Context(), dnsRequest(acme.HTTP01, "a.test")))
	})
}

// redirectTo answers requests for the challenge's path with a redirect.
func redirectTo(location string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/.well-known/acme-challenge/"+testToken {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Location", location)
		w.Header().Set("Set-Cookie", "a=b")
		w.WriteHeader(http.StatusFound)
	}
}

func TestHTTP01Redirects(t *testing.T) {
	path := "/.well-known/acme-challenge/" + testToken
	ok := expectation{}
	refused := func(detail string) expectation { return expectation{problem: acme.Connection, detail: detail} }
	for name, c := range map[string]struct {
		location string
		want     expectation
	}{
		"to another host":                {"http://b.test" + path, ok},
		"to its port, written out":       {"http://b.test:80" + path, ok},
		"with a query and a fragment":    {"http://b.test/proof?x=1#here", ok},
		"to another path":                {"/proof?x=1", ok},
		"without a scheme":               {"//b.test" + path, ok},
		"to https":                       {"https://b.test" + path, ok},
		"to https on its port":           {"https://b.test:443" + path, ok},
		"to an IPv4 address":             {"http://192.0.2.2" + path, ok},
		"to an IPv6 address":             {"http://[2001:db8::2]" + path, ok},
		"to https at an address":         {"https://192.0.2.2" + path, ok},
		"to the HTTP port by https":      {"https://b.test:80" + path, expectation{problem: acme.TLS}},
		"to another port":                {"http://b.test:8080" + path, refused("only ports 80 and 443")},
		"to a port out of range":         {"http://b.test:65616" + path, refused("only ports")},
		"to another scheme":              {"ftp://b.test" + path, refused("only http and https")},
		"to a file":                      {"file:///etc/passwd", refused("only http and https")},
		"with credentials":               {"http://user:secret@b.test" + path, refused("credentials")},
		"to no host":                     {"http:///x", refused("neither a domain name")},
		"to a zoned address":             {"http://[fe80::1%25eth0]/", refused("neither a domain name")},
		"to an address in disguise":      {"http://127.1/", refused("neither a domain name")},
		"to an address in octal":         {"http://0177.0.0.1/", refused("neither a domain name")},
		"to an address as one number":    {"http://2130706433/", refused("neither a domain name")},
		"to a wildcard":                  {"http://*.test/", refused("neither a domain name")},
		"to a host with odd characters":  {"http://b_x.test/", refused("neither a domain name")},
		"to loopback":                    {"http://127.0.0.1" + path, refused("loopback")},
		"to loopback by name":            {"http://loopback.test" + path, refused("loopback")},
		"to loopback by IPv6":            {"http://[::1]" + path, refused("loopback")},
		"to loopback, mapped":            {"http://[::ffff:127.0.0.1]" + path, refused("loopback")},
		"to metadata":                    {"http://169.254.169.254/latest/meta-data/", refused("link-local")},
		"to metadata by a name":          {"http://metadata.test/latest/", refused("link-local")},
		"to itself":                      {path, refused("loop")},
		"nowhere":                        {"", refused("missing")},
		"to a URL too long":              {"http://b.test/" + strings.Repeat("x", 2048), refused("too long")},
		"to what isn't a URL":            {"http://b.test/%zz", refused("not a URL")},
		"to a name that doesn't exist":   {"http://gone.test/", expectation{problem: acme.DNSProblem, detail: "NXDOMAIN"}},
		"to a path without the proof":    {"/nothing", expectation{problem: acme.Unauthorized, transient: true, detail: "404"}},
		"to a path with something else":  {"http://b.test/secret", expectation{problem: acme.IncorrectResponse, detail: "something other than the key authorization"}},
		"to the path with another query": {"http://b.test" + path + "?secret=1", expectation{problem: acme.IncorrectResponse}},
		"to a redirect with something":   {"http://b.test/login/secret", expectation{problem: acme.Unauthorized, transient: true, detail: `"http://b.test/..." answered with HTTP status 404`}},
		"to a bad redirect":              {"http://b.test/bad/secret", expectation{problem: acme.Connection, detail: `"http://b.test/bad/secret" redirects: only http`}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "a.test. A 192.0.2.1", "b.test. A 192.0.2.2", "loopback.test. A 127.0.0.1", "metadata.test. A 169.254.169.254")
			second := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case len(r.Header) != 4: // as TestHTTP01Request has it
					t.Errorf("got header %v", r.Header)
				case r.URL.Path == "/login/secret":
					http.Redirect(w, r, "/home?SECRET", http.StatusFound)
				case r.URL.Path == "/bad/secret":
					http.Redirect(w, r, "x:/SECRET", http.StatusFound)
				case strings.Contains(r.RequestURI, "secret"):
					io.WriteString(w, "SECRET")
				case r.URL.Path == path, r.RequestURI == "/proof?x=1":
					io.WriteString(w, testKeyAuth)
				default:
					http.NotFound(w, r)
				}
			})
			redirect := redirectTo(c.location)
			w.http(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == path {
					redirect(w, r)
				} else {
					second(w, r)
				}
			}, "192.0.2.1:80")
			w.http(second, "192.0.2.2:80", "[2001:db8::2]:80")
			https := httptest.NewTLSServer(second)
			defer https.Close()
			w.route("192.0.2.2:443", https.Listener.Addr().String())
			got := w.validator().Validate(t.Context(), dnsRequest(acme.HTTP01, "a.test"))
			c.want.check(t, got)
			if strings.Contains(fmt.Sprint(got.Problem, got.Record), "SECRET") {
				t.Errorf("a redirect read what it shouldn't: %v, %+v", got.Problem, got.Record)
			}
			for _, d := range w.dials {
				if d != "192.0.2.1:80" && d != "192.0.2.2:80" && d != "192.0.2.2:443" && d != "[2001:db8::2]:80" {
					t.Errorf("%s was dialled", d)
				}
			}
		})
	}
}

func TestHTTP01RedirectCount(t *testing.T) {
	for _, c := range []struct {
		redirects int
		want      expectation
	}{
		{maxRedirects, expectation{}},
		{maxRedirects + 1, expectation{problem: acme.Connection, detail: "more than 10 redirects"}},
		{1000000, expectation{problem: acme.Connection, detail: "more than 10 redirects"}},
	} {
		w := newWorld(t, "a.test. A 192.0.2.1")
		requests := 0
		w.http(func(w http.ResponseWriter, r *http.Request) {
			if requests++; requests <= c.redirects {
				http.Redirect(w, r, fmt.Sprint("/", requests), http.StatusPermanentRedirect)
				return
			}
			io.WriteString(w, testKeyAuth)
		}, "192.0.2.1:80")
		got := w.validator().Validate(t.Context(), dnsRequest(acme.HTTP01, "a.test"))
		c.want.check(t, got)
		if requests != maxRedirects+1 || len(got.Record.URLs) != maxRedirects+1 {
			t.Errorf("got %d requests and %d URLs", requests, len(got.Record.URLs))
		}
	}
}

func TestHTTP01ConfiguredPorts(t *testing.T) {
	path := "/.well-known/acme-challenge/" + testToken
	w := newWorld(t, "a.test. A 192.0.2.1")
	w.config.HTTPPort, w.config.HTTPSPort = 5002, 5001
	w.http(redirectTo("https://a.test"+path), "192.0.2.1:5002")
	https := httptest.NewTLSServer(http.HandlerFunc(keyAuthorizationServer))
	defer https.Close()
	w.route("192.0.2.1:5001", https.Listener.Addr().String())
	got := w.validator().Validate(t.Context(), dnsRequest(acme.HTTP01, "a.test"))
	expectation{}.check(t, got)
	equal(t, "URLs", got.Record.URLs, []string{"http://a.test:5002" + path, "https://a.test:5001" + path})

	w = newWorld(t, "a.test. A 192.0.2.1")
	w.config.HTTPPort = 5002
	w.http(redirectTo("http://a.test:80"+path), "192.0.2.1:5002")
	expectation{problem: acme.Connection, detail: "only ports 5002 and 443"}.
		check(t, w.validator().Validate(t.Context(), dnsRequest(acme.HTTP01, "a.test")))
}

// Peers that keep a connection busy without a response cost no more than the attempt's timeout.
func TestHTTP01HostilePeers(t *testing.T) {
	drip := func(conn net.Conn, first, rest string) {
		io.WriteString(conn, first)
		for {
			if _, err := io.WriteString(conn, rest); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond) // a pace, not something to wait for
		}
	}
	timedOut := expectation{problem: acme.Connection, transient: true, detail: "timed out"}
	notHTTP := expectation{problem: acme.IncorrectResponse, detail: "not valid HTTP"}
	for name, c := range map[string]struct {
		peer func(net.Conn)
		want expectation
	}{
		"silent":              {func(c net.Conn) { io.Copy(io.Discard, c) }, timedOut},
		"slow status line":    {func(c net.Conn) { drip(c, "HTTP/1.1 ", "2") }, timedOut},
		"slow header":         {func(c net.Conn) { drip(c, "HTTP/1.1 200 OK\r\n", "A: b\r\n") }, timedOut},
		"slow body":           {func(c net.Conn) { drip(c, "HTTP/1.1 200 OK\r\n\r\n", "x") }, timedOut},
		"slow chunks":         {func(c net.Conn) { drip(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n") }, timedOut},
		"endless early hints": {func(c net.Conn) { drip(c, "", "HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n") }, notHTTP},
		"some early hints": {func(c net.Conn) {
			io.WriteString(c, strings.Repeat("HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n", 5)+"HTTP/1.0 200 OK\r\n\r\n"+testKeyAuth)
		}, expectation{}},
		"endless chunk extensions": {func(c net.Conn) {
			drip(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1", strings.Repeat(";x", 8000))
		}, expectation{problem: acme.IncorrectResponse, detail: "not valid HTTP"}},
		"another protocol": {func(c net.Conn) { io.WriteString(c, "SSH-2.0-SECRET\r\n") }, notHTTP},
		"a broken body": {func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"+testKeyAuth)
		}, expectation{problem: acme.Connection, transient: true, detail: "closed early"}},
		"closes": {func(net.Conn) {}, expectation{problem: acme.Connection, transient: true, detail: "closed early"}},
		"lies about the length": {func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 87\r\n\r\n"+testKeyAuth)
		}, notHTTP},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if c.want == timedOut {
				w.config.Timeout = 200 * time.Millisecond
			}
			w.route("192.0.2.1:80", serveRaw(t, func(conn net.Conn) {
				conn.Read(make([]byte, 4096)) // so that closing isn't a reset
				c.peer(conn)
			}))
			got := w.validator().Validate(t.Context(), ipRequest(acme.HTTP01, "192.0.2.1"))
			c.want.check(t, got)
			if got.Problem != nil && strings.Contains(got.Problem.Detail, "SECRET") {
				t.Errorf("the problem repeats what the peer sent: %v", got.Problem)
			}
		})
	}
}

func TestHTTP01BrokenTLS(t *testing.T) {
	for name, c := range map[string]struct {
		peer func(net.Conn)
		want expectation
	}{
		"plain text": {func(c net.Conn) { io.WriteString(c, "HTTP/1.1 400 SECRET\r\n\r\n") }, expectation{problem: acme.TLS, detail: "handshake"}},
		"an alert": {func(c net.Conn) {
			c.Read(make([]byte, 10000))
			c.Write([]byte{21, 3, 3, 0, 2, 2, 40})
			io.Copy(io.Discard, c)
		}, expectation{problem: acme.TLS, detail: "handshake failure"}},
		"silent": {func(c net.Conn) { io.Copy(io.Discard, c) }, expectation{problem: acme.Connection, transient: true, detail: "timed out"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if c.want.transient {
				w.config.Timeout = 200 * time.Millisecond
			}
			w.http(redirectTo("https://192.0.2.1/"), "192.0.2.1:80")
			w.route("192.0.2.1:443", serveRaw(t, c.peer))
			c.want.check(t, w.validator().Validate(t.Context(), ipRequest(acme.HTTP01, "192.0.2.1")))
		})
	}
}

// Devices have factory certificates with a negative serial number, which crypto/x509 refuses by default. Nothing in the
// certificate of a redirect's target is verified.
func TestHTTP01RedirectToNegativeSerial(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(0x55), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	serial := []byte{2, 1, 0x55} // INTEGER, one byte
	if bytes.Count(der, serial) != 1 {
		t.Fatal("the serial number isn't there once")
	}
	der = bytes.Replace(der, serial, []byte{2, 1, 0xd5}, 1)
	w := newWorld(t)
	w.http(redirectTo("https://192.0.2.1/.well-known/acme-challenge/"+testToken), "192.0.2.1:80")
	server := httptest.NewUnstartedServer(http.HandlerFunc(keyAuthorizationServer))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	server.StartTLS()
	t.Cleanup(server.Close)
	w.route("192.0.2.1:443", server.Listener.Addr().String())
	expectation{}.check(t, w.validator().Validate(t.Context(), ipRequest(acme.HTTP01, "192.0.2.1")))
}

func TestPortOfUnknownURL(t *testing.T) {
	a := &attempt{Validator: newWorld(t).validator()}
	u, _ := url.Parse("http://a.test:8080/")
	_, failed := a.fetch(t.Context(), hop{url: u})
	if failed == nil || failed.problem.Type != acme.ServerInternal {
		t.Errorf("got %v", failed)
	}
}
