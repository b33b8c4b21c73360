package validation

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/controllers/validation/network/networktest"
)

const (
	testToken      = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
	testThumbprint = "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
	testKeyAuth    = testToken + "." + testThumbprint
)

// world is a test network: a DNS server with a zone, and hosts whose addresses are routed to servers on loopback. Its validator
// has the default address policy.
type world struct {
	t    *testing.T
	zone []string
	// config of the validator; validator sets Resolvers and Dial.
	config Config

	mu     sync.Mutex
	routes map[string]string
	dials  []string
}

func newWorld(t *testing.T, zone ...string) *world {
	return &world{t: t, zone: zone, routes: map[string]string{}, config: Config{Timeout: 30 * time.Second}}
}

// route makes connections to address (an IP address and port) reach the real address.
func (w *world) route(address, real string) { w.routes[address] = real }

// dial refuses addresses without a route, as a host without an open port does.
func (w *world) dial(ctx context.Context, network, address string) (net.Conn, error) {
	w.mu.Lock()
	w.dials = append(w.dials, address)
	real, ok := w.routes[address]
	w.mu.Unlock()
	if !ok {
		real = "127.0.0.1:1"
	}
	return new(net.Dialer).DialContext(ctx, network, real)
}

func (w *world) validator() *Validator {
	w.t.Helper()
	if w.config.Resolvers == nil {
		w.config.Resolvers = []string{networktest.Serve(w.t, networktest.Zone(w.t, w.zone...))}
	}
	w.config.Dial = w.dial
	v, err := New(w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// http starts an HTTP server, reachable at each of the addresses (with port).
func (w *world) http(handler http.HandlerFunc, addresses ...string) {
	address := serveHTTP(w.t, handler)
	for _, a := range addresses {
		w.route(a, address)
	}
}

func serveHTTP(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	l := networktest.Listen(t)
	server := &http.Server{Handler: handler}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return l.Addr().String()
}

// serveRaw calls raw for each connection, and closes the connection.
func serveRaw(t *testing.T, raw func(net.Conn)) string {
	t.Helper()
	l := networktest.Listen(t)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				raw(conn)
			}()
		}
	}()
	return l.Addr().String()
}

func dnsRequest(c acme.ChallengeType, name string) Request {
	return Request{
		Identifier: acme.Identifier{Type: acme.DNS, Value: name},
		Type:       c, Token: testToken, Thumbprint: testThumbprint,
		AccountURIs: []string{"https://ca.test/acme/acct/1"},
	}
}

func ipRequest(c acme.ChallengeType, address string) Request {
	r := dnsRequest(c, address)
	r.Identifier.Type = acme.IP
	return r
}

// expectation of a result; the zero value is a success.
type expectation struct {
	problem   acme.ProblemType
	transient bool
	// detail must be a part of the problem's detail.
	detail string
}

func (e expectation) check(t *testing.T, got Result) {
	t.Helper()
	if got.Valid != (got.Problem == nil) {
		t.Fatalf("valid is %v and the problem %v", got.Valid, got.Problem)
	}
	checkRecord(t, got.Record)
	if e.problem == "" {
		if !got.Valid {
			t.Fatalf("failed: %v", got.Problem)
		}
		return
	}
	if got.Valid {
		t.Fatalf("succeeded, want %s", e.problem)
	}
	if got.Problem.Identifier != nil {
		t.Error("the problem names an identifier (RFC 8555 section 6.7.1)")
	}
	if got.Problem.Type != e.problem || got.Transient != e.transient || !strings.Contains(got.Problem.Detail, e.detail) {
		t.Fatalf("got %v (transient: %v), want %s with %q (transient: %v)", got.Problem, got.Transient, e.problem, e.detail, e.transient)
	}
}

func checkRecord(t *testing.T, r Record) {
	t.Helper()
	for _, list := range [][]string{r.Addresses, r.URLs, r.Records} {
		if len(list) > MaxRecordItems {
			t.Errorf("a list of the record has %d items", len(list))
		}
		for _, item := range list {
			if len(item) > MaxRecordURL || item != acme.Printable(item, MaxRecordURL) {
				t.Errorf("an item of the record is too long or not printable: %q", item)
			}
		}
	}
}

func keyAuthorizationServer(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/.well-known/acme-challenge/"+testToken || r.URL.RawQuery != "" {
		http.NotFound(w, r)
		return
	}
	w.Write([]byte(testKeyAuth))
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}
