package validation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"pgregory.net/rapid"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/controllers/validation/network"
	"github.com/acmeca/acmeca/controllers/validation/network/networktest"
)

func TestNewRefuses(t *testing.T) {
	for name, c := range map[string]Config{
		"a resolver's name":    {Resolvers: []string{"dns.test"}},
		"an HTTP port":         {HTTPPort: 65536},
		"an HTTPS port":        {HTTPSPort: -1},
		"a TLS port":           {TLSPort: 1 << 20},
		"a timeout":            {Timeout: -1},
		"an allowed range":     {Allow: []netip.Prefix{{}}},
		"an identity":          {CAAIdentities: []string{"not a name"}},
		"a wildcard identity":  {CAAIdentities: []string{"*.ca.test"}},
		"an address for an id": {CAAIdentities: []string{"192.0.2.1"}},
		"a cluster's domain":   {ClusterDomain: "not a name"},
	} {
		if c.Resolvers == nil {
			c.Resolvers = []string{"192.0.2.53"}
		}
		if _, err := New(c); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestNewDefaults(t *testing.T) {
	v, err := New(Config{Resolvers: []string{"192.0.2.53"}})
	if err != nil {
		t.Fatal(err)
	}
	if v.httpPort != 80 || v.httpsPort != 443 || v.tlsPort != 443 || v.timeout != DefaultTimeout || v.dial == nil || v.now == nil {
		t.Errorf("got %+v", v)
	}
}

// SECURITY.md row 2: unknown types are denied before any lookup or connection.
func TestValidateDenies(t *testing.T) {
	change := func(change func(*Request)) Request {
		r := dnsRequest(acme.HTTP01, "a.test")
		change(&r)
		return r
	}
	for name, c := range map[string]struct {
		request Request
		problem acme.ProblemType
	}{
		"an empty request":            {Request{}, acme.UnsupportedIdentifier},
		"an unknown identifier type":  {change(func(r *Request) { r.Identifier.Type = "email" }), acme.UnsupportedIdentifier},
		"an unknown challenge type":   {change(func(r *Request) { r.Type = "http-02" }), acme.Malformed},
		"no challenge type":           {change(func(r *Request) { r.Type = "" }), acme.Malformed},
		"a type in another case":      {change(func(r *Request) { r.Type = "HTTP-01" }), acme.Malformed},
		"a wildcard by http-01":       {change(func(r *Request) { r.Wildcard = true }), acme.Malformed},
		"a wildcard by tls-alpn-01":   {change(func(r *Request) { r.Wildcard, r.Type = true, acme.TLSALPN01 }), acme.Malformed},
		"a wildcard left in the name": {change(func(r *Request) { r.Identifier.Value, r.Type = "*.a.test", acme.DNS01 }), acme.Malformed},
		"a wildcard address":          {change(func(r *Request) { *r = ipRequest(acme.HTTP01, "192.0.2.1"); r.Wildcard = true }), acme.Malformed},
		"an address by dns-01":        {ipRequest(acme.DNS01, "192.0.2.1"), acme.Malformed},
		"an address as a name":        {dnsRequest(acme.HTTP01, "192.0.2.1"), acme.RejectedIdentifier},
		"a name as an address":        {ipRequest(acme.HTTP01, "a.test"), acme.RejectedIdentifier},
		"a URL as a name":             {dnsRequest(acme.HTTP01, "a.test/../x?"), acme.RejectedIdentifier},
		"an empty name":               {dnsRequest(acme.HTTP01, ""), acme.RejectedIdentifier},
		"no token":                    {change(func(r *Request) { r.Token = "" }), acme.ServerInternal},
		"no thumbprint":               {change(func(r *Request) { r.Thumbprint = "" }), acme.ServerInternal},
		"a token that is a path":      {change(func(r *Request) { r.Token = "../../x" }), acme.ServerInternal},
		"a long token":                {change(func(r *Request) { r.Token = strings.Repeat("x", 100) }), acme.ServerInternal},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			var queries atomic.Int32
			w.config.Resolvers = []string{networktest.Serve(t, func(dns.ResponseWriter, *dns.Msg) { queries.Add(1) })}
			expectation{problem: c.problem}.check(t, w.validator().Validate(t.Context(), c.request))
			if queries.Load() > 0 || len(w.dials) > 0 {
				t.Errorf("%d queries, dialled %v", queries.Load(), w.dials)
			}
		})
	}
	// The type is denied even if the earlier check passes.
	a := &attempt{Validator: newWorld(t).validator(), req: change(func(r *Request) { r.Type = "http-02" })}
	if got, failed := a.challenge(t.Context()); got == proven || failed == nil {
		t.Error("an unknown challenge type is proven")
	}
}

// SECURITY.md row 1: a success needs both the verdict proven and no failure.
func TestConclude(t *testing.T) {
	failed := definite(acme.TLS, "x")
	for _, c := range []struct {
		got    verdict
		failed *failure
		want   expectation
	}{
		{proven, nil, expectation{}},
		{proven, failed, expectation{problem: acme.TLS}},
		{unproven, failed, expectation{problem: acme.TLS}},
		{unproven, nil, expectation{problem: acme.ServerInternal, detail: "without a verdict"}},
		{verdict(2), nil, expectation{problem: acme.ServerInternal}},
	} {
		c.want.check(t, conclude(c.got, c.failed))
	}
	if (Result{}).Valid {
		t.Error("no result is a success")
	}
}

func TestValidateSurvivesAPanic(t *testing.T) {
	boom := func(context.Context, string, string) (net.Conn, error) { panic("boom") }
	for name, dns := range map[string]network.DialFunc{"the target": nil, "DNS": boom} { // names are looked up in goroutines of their own
		w := newWorld(t, "a.test. A 192.0.2.1")
		w.config.DialDNS = dns
		v := w.validator()
		v.dial = boom
		result := v.Validate(t.Context(), dnsRequest(acme.HTTP01, "a.test"))
		expectation{problem: acme.ServerInternal, detail: "failed unexpectedly"}.check(t, result)
		if result.Cause != "panic: boom" || strings.Contains(result.Problem.Detail, "boom") {
			t.Errorf("%s: clients see %q, operators see %q", name, result.Problem.Detail, result.Cause)
		}
	}
}

func TestValidateEndsWithItsContext(t *testing.T) {
	w := newWorld(t, "a.test. A 192.0.2.1")
	w.config.Timeout = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	w.http(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}, "192.0.2.1:80")
	expectation{problem: acme.Connection, transient: true, detail: "cancelled"}.check(t, w.validator().Validate(ctx, dnsRequest(acme.HTTP01, "a.test")))
}

// rebinding answers the first query for A with the first address, and so on.
func rebinding(addresses ...string) (dns.HandlerFunc, *atomic.Int32) {
	asked := new(atomic.Int32)
	return networktest.Reply(func(q, m *dns.Msg) {
		if q.Question[0].Qtype == dns.TypeA {
			n := min(int(asked.Add(1)), len(addresses))
			m.Answer = []dns.RR{networktest.RR(q.Question[0].Name + " 0 A " + addresses[n-1])}
		}
	}), asked
}

func TestRebinding(t *testing.T) {
	t.Run("between check and dial", func(t *testing.T) {
		w := newWorld(t)
		handler, asked := rebinding("192.0.2.1", "127.0.0.1")
		w.config.Resolvers = []string{networktest.Serve(t, handler)}
		w.http(keyAuthorizationServer, "192.0.2.1:80")
		expectation{}.check(t, w.validator().Validate(t.Context(), dnsRequest(acme.HTTP01, "a.test")))
		equal(t, "dials", w.dials, []string{"192.0.2.1:80"})
		if asked.Load() != 1 {
			t.Errorf("the name was resolved %d times", asked.Load())
		}
	})
	t.Run("between redirects", func(t *testing.T) {
		w := newWorld(t)
		handler, _ := rebinding("192.0.2.1", "169.254.169.254")
		w.config.Resolvers = []string{networktest.Serve(t, handler)}
		w.http(redirectTo("/elsewhere"), "192.0.2.1:80")
		expectation{problem: acme.Connection, detail: "link-local"}.check(t, w.validator().Validate(t.Context(), dnsRequest(acme.HTTP01, "a.test")))
		equal(t, "dials", w.dials, []string{"192.0.2.1:80"})
	})
}

func TestDeniedAddresses(t *testing.T) {
	zone := []string{"a.test. A 127.0.0.1", "a.test. A 192.0.2.1", "a.test. AAAA ::1"}
	t.Run("are left out", func(t *testing.T) {
		w := newWorld(t, zone...)
		w.http(keyAuthorizationServer, "192.0.2.1:80")
		got := w.validator().Validate(t.Context(), dnsRequest(acme.HTTP01, "a.test"))
		expectation{}.check(t, got)
		equal(t, "dials", w.dials, []string{"192.0.2.1:80"})
		equal(t, "addresses", got.Record.Addresses, []string{"::1", "127.0.0.1", "192.0.2.1"})
	})
	t.Run("are told", func(t *testing.T) {
		w := newWorld(t, zone...)
		w.config.Protected = prefixes("192.0.2.1/32")
		expectation{problem: acme.Connection, detail: `may not connect to "a.test": ::1 is a loopback, unspecified or IPv4-compatible address, ` +
			"127.0.0.1 is a loopback address, 192.0.2.1 is a protected address of the cluster"}.
			check(t, w.validator().Validate(t.Context(), dnsRequest(acme.HTTP01, "a.test")))
		equal(t, "dials", w.dials, nil)
	})
	t.Run("are seen through", func(t *testing.T) {
		for _, address := range []string{"::ffff:127.0.0.1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::1"} {
			w := newWorld(t, "a.test. AAAA "+address)
			expectation{problem: acme.Connection, detail: "may not connect"}.
				check(t, w.validator().Validate(t.Context(), dnsRequest(acme.HTTP01, "a.test")))
			equal(t, "dials", w.dials, nil)
		}
	})
	t.Run("may be allowed", func(t *testing.T) {
		w := newWorld(t, zone...)
		w.config.Allow = prefixes("::1/128")
		w.http(keyAuthorizationServer, "[::1]:80")
		expectation{}.check(t, w.validator().Validate(t.Context(), dnsRequest(acme.HTTP01, "a.test")))
	})
	t.Run("as identifiers", func(t *testing.T) {
		for _, address := range []string{"127.0.0.1", "::1", "169.254.169.254", "fe80::1", "64:ff9b::7f00:1", "0.0.0.0", "255.255.255.255"} {
			w := newWorld(t)
			expectation{problem: acme.Connection, detail: "may not connect"}.
				check(t, w.validator().Validate(t.Context(), ipRequest(acme.HTTP01, address)))
			equal(t, "dials", w.dials, nil)
		}
	})
}

func TestLookupOfAddresses(t *testing.T) {
	only := func(qtype uint16, good dns.HandlerFunc) dns.HandlerFunc {
		return func(w dns.ResponseWriter, q *dns.Msg) {
			if q.Question[0].Qtype == qtype {
				good(w, q)
				return
			}
			networktest.Rcode(dns.RcodeServerFailure)(w, q)
		}
	}
	v4, v6 := networktest.Zone(t, "a.test. A 192.0.2.1"), networktest.Zone(t, "a.test. AAAA 2001:db8::1")
	empty := networktest.Reply(func(_, _ *dns.Msg) {})
	servfail := expectation{problem: acme.DNSProblem, transient: true, detail: "SERVFAIL"}
	for name, c := range map[string]struct {
		handler dns.HandlerFunc
		want    expectation
	}{
		"AAAA fails":             {only(dns.TypeA, v4), expectation{}},
		"A fails":                {only(dns.TypeAAAA, v6), expectation{}},
		"A is empty, AAAA fails": {only(dns.TypeA, empty), servfail},
		"AAAA is empty, A fails": {only(dns.TypeAAAA, empty), servfail},
		"both fail":              {networktest.Rcode(dns.RcodeServerFailure), servfail},
		"both are empty":         {empty, expectation{problem: acme.DNSProblem, detail: "neither an A nor an AAAA"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.config.Resolvers = []string{networktest.Serve(t, c.handler)}
			w.http(keyAuthorizationServer, "192.0.2.1:80", "[2001:db8::1]:80")
			c.want.check(t, w.validator().Validate(t.Context(), dnsRequest(acme.HTTP01, "a.test")))
		})
	}
}

// Some DNS servers drop queries for AAAA (RFC 4074 section 4.1). Once A is known, the attempt doesn't wait for them.
func TestAddressesOfAFamilyThatIsNotAnswered(t *testing.T) {
	silentFor := func(qtype uint16, otherwise dns.HandlerFunc) dns.HandlerFunc {
		return func(w dns.ResponseWriter, q *dns.Msg) {
			if q.Question[0].Qtype != qtype {
				otherwise(w, q)
			}
		}
	}
	for name, c := range map[string]struct {
		handler dns.HandlerFunc
		want    expectation
	}{
		"no AAAA":                       {silentFor(dns.TypeAAAA, networktest.Zone(t, "a.test. A 192.0.2.1")), expectation{}},
		"no A":                          {silentFor(dns.TypeA, networktest.Zone(t, "a.test. AAAA 2001:db8::1")), expectation{}},
		"no AAAA, and the port refuses": {silentFor(dns.TypeAAAA, networktest.Zone(t, "a.test. A 192.0.2.2")), refusedBy("192.0.2.2:80")},
		"no AAAA, and A is empty": {silentFor(dns.TypeAAAA, networktest.Reply(func(_, _ *dns.Msg) {})),
			expectation{problem: acme.DNSProblem, transient: true, detail: "timed out"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.config.Timeout = time.Second
			for range 3 {
				w.config.Resolvers = append(w.config.Resolvers, networktest.Serve(t, c.handler))
			}
			w.http(keyAuthorizationServer, "192.0.2.1:80", "[2001:db8::1]:80")
			c.want.check(t, w.validator().Validate(t.Context(), dnsRequest(acme.HTTP01, "a.test")))
		})
	}
}

func refusedBy(address string) expectation {
	return expectation{problem: acme.Connection, transient: true, detail: "connecting to " + address + ": connection refused"}
}

// A name with many addresses gets a few connections and a small record.
func TestHugeAddressSet(t *testing.T) {
	w := newWorld(t)
	w.config.Resolvers = []string{networktest.Serve(t, networktest.Many(t, 250))}
	got := w.validator().Validate(t.Context(), dnsRequest(acme.HTTP01, "a.test"))
	expectation{problem: acme.Connection, transient: true}.check(t, got)
	if len(w.dials) != maxDialsPerFamily || len(got.Record.Addresses) != MaxRecordItems {
		t.Errorf("dialled %v, recorded %v", w.dials, got.Record.Addresses)
	}
}

func TestErrorsOfADialerAreNotRepeated(t *testing.T) {
	w := newWorld(t, "a.test. A 192.0.2.1")
	v := w.validator()
	v.dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("SECRET of a proxy") }
	expectation{problem: acme.Connection, transient: true, detail: "connecting to 192.0.2.1:80: failed"}.
		check(t, v.Validate(t.Context(), dnsRequest(acme.HTTP01, "a.test")))
}

// A record is small and printable for every input, so that it fits into a status.
func TestRecordIsBounded(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var r Record
		for _, s := range rapid.SliceOfN(rapid.String(), 0, 40).Draw(rt, "items") {
			s = strings.Repeat(s, 50)
			r.addAddress(s)
			r.addURL(s)
			r.addRecord(s)
		}
		checkRecord(t, r)
		text, err := json.Marshal(r)
		if err != nil || len(text) > 2*MaxRecordItems*(64+MaxRecordURL+MaxRecordDNSRecord) {
			rt.Fatalf("%d bytes, %v", len(text), err)
		}
	})
}

func ExampleValidator_Validate() {
	v, err := New(Config{Resolvers: []string{"192.0.2.53"}})
	if err != nil {
		panic(err)
	}
	result := v.Validate(context.Background(), Request{
		Identifier: acme.Identifier{Type: acme.DNS, Value: "*.example.com"},
		Type:       acme.DNS01,
		Token:      testToken, Thumbprint: testThumbprint,
	})
	fmt.Println(result.Valid, result.Problem)
	// Output: false malformed: the identifier of an authorization must not be a wildcard
}
