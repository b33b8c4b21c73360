package validation

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/controllers/validation/network"
	"github.com/acmeca/acmeca/controllers/validation/network/networktest"
)

// dnsWorld is a network with a resolver and authoritative servers, each at port 53 of an address. Connections to other addresses
// are refused.
type dnsWorld struct {
	config Config

	mu      sync.Mutex
	routes  map[string]string
	dialled []string
	// asked are the names in queries to the resolver for TXT records.
	asked []string
}

const resolverAddress = "192.0.2.1"

func newDNSWorld(t *testing.T, resolver dns.HandlerFunc, servers map[string]dns.HandlerFunc) *dnsWorld {
	w := &dnsWorld{routes: map[string]string{}}
	w.routes[resolverAddress+":53"] = networktest.Serve(t, func(out dns.ResponseWriter, query *dns.Msg) {
		if !query.RecursionDesired {
			t.Error("the resolver was asked not to resolve")
		}
		if q := query.Question[0]; q.Qtype == dns.TypeTXT {
			w.mu.Lock()
			w.asked = append(w.asked, q.Name)
			w.mu.Unlock()
		}
		resolver(out, query)
	})
	for address, handler := range servers {
		w.routes[address+":53"] = networktest.Serve(t, handler)
	}
	w.config = Config{Resolvers: []string{resolverAddress}, Timeout: 10 * time.Second, DialDNS: w.dial, Hosts: network.NewHosts(0)}
	return w
}

// names returns the names in queries to the resolver for TXT records.
func (w *dnsWorld) names() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.asked)
}

func (w *dnsWorld) dial(ctx context.Context, network, address string) (net.Conn, error) {
	w.mu.Lock()
	w.dialled = append(w.dialled, address)
	real, ok := w.routes[address]
	w.mu.Unlock()
	if !ok {
		real = "127.0.0.1:1"
	}
	return new(net.Dialer).DialContext(ctx, network, real)
}

func (w *dnsWorld) validate(t *testing.T, request Request) Result {
	t.Helper()
	v, err := New(w.config)
	if err != nil {
		t.Fatal(err)
	}
	return v.Validate(t.Context(), request)
}

// dials returns how many connections an address got.
func (w *dnsWorld) dials(address string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, d := range w.dialled {
		if d == address {
			n++
		}
	}
	return n
}

// authority returns a server that is authoritative for a zone, and refers to the servers of the zones below it.
func authority(t *testing.T, apex string, zone ...string) dns.HandlerFunc {
	t.Helper()
	zone = append(zone, apex+" SOA ns."+apex+" admin."+apex+" 1 3600 600 86400 10800")
	recursive := networktest.Zone(t, zone...)
	var records []dns.RR
	for _, line := range zone {
		records = append(records, networktest.RR(line))
	}
	return func(w dns.ResponseWriter, query *dns.Msg) {
		if query.RecursionDesired || w.LocalAddr().Network() != "tcp" {
			t.Errorf("a server of %s was asked over %s, to resolve: %v", apex, w.LocalAddr().Network(), query.RecursionDesired)
		}
		name := dns.CanonicalName(query.Question[0].Name)
		reply := new(dns.Msg).SetReply(query)
		if !dns.IsSubDomain(apex, name) {
			reply.Rcode = dns.RcodeRefused
			w.WriteMsg(reply)
			return
		}
		for _, rr := range records {
			if ns, ok := rr.(*dns.NS); ok && ns.Hdr.Name != apex && dns.IsSubDomain(ns.Hdr.Name, name) {
				reply.Ns = append(reply.Ns, ns)
				for _, glue := range records {
					if glue.Header().Name == ns.Ns && glue.Header().Rrtype == dns.TypeA {
						reply.Extra = append(reply.Extra, glue)
					}
				}
			}
		}
		if len(reply.Ns) > 0 {
			w.WriteMsg(reply)
			return
		}
		recursive(editing(w, func(m *dns.Msg) { m.Authoritative, m.RecursionAvailable = true, false }), query)
	}
}

// editedWriter changes replies before they are sent.
type editedWriter struct {
	dns.ResponseWriter
	edit func(*dns.Msg)
}

func editing(w dns.ResponseWriter, edit func(*dns.Msg)) dns.ResponseWriter {
	return editedWriter{w, edit}
}

func (w editedWriter) WriteMsg(m *dns.Msg) error {
	w.edit(m)
	return w.ResponseWriter.WriteMsg(m)
}

// verified returns a resolver that has verified the signatures of all its replies.
func verified(handler dns.HandlerFunc) dns.HandlerFunc {
	return func(w dns.ResponseWriter, query *dns.Msg) {
		handler(editing(w, func(m *dns.Msg) { m.AuthenticatedData = query.AuthenticatedData }), query)
	}
}

func lame(w dns.ResponseWriter, query *dns.Msg) {
	reply := new(dns.Msg).SetReply(query)
	reply.Answer = []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: query.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}, Txt: []string{acme.DNS01Digest(testKeyAuth)}}}
	w.WriteMsg(reply)
}

var (
	// corp is the part of a zone that resolvers know, with its server at 192.0.2.53.
	corp = []string{
		"corp.example. SOA ns.corp.example. admin.corp.example. 1 3600 600 86400 10800",
		"corp.example. NS ns.corp.example.", "ns.corp.example. A 192.0.2.53", "app.corp.example. A 192.0.2.80",
	}
	proof  = `_acme-challenge.app.corp.example. TXT "` + acme.DNS01Digest(testKeyAuth) + `"`
	absent = expectation{problem: acme.DNSProblem, transient: true, detail: "NXDOMAIN from " + resolverAddress}
)

func with(zone []string, more ...string) []string { return slices.Concat(zone, more) }

func TestAuthoritativeServersAreAskedFirst(t *testing.T) {
	const asked = "192.0.2.53:53"
	wrong := `_acme-challenge.app.corp.example. TXT "another"`
	for name, test := range map[string]struct {
		resolver []string
		servers  map[string]dns.HandlerFunc
		want     expectation
		// asked is the authoritative server in the record.
		asked string
	}{
		"the resolver still says that there is none": {
			corp, map[string]dns.HandlerFunc{"192.0.2.53": authority(t, "corp.example.", proof)}, expectation{}, asked},
		"only the resolver has the proof, inside a network": {
			with(corp, proof), map[string]dns.HandlerFunc{"192.0.2.53": authority(t, "corp.example.")}, expectation{}, asked},
		"neither has the proof": {
			corp, map[string]dns.HandlerFunc{"192.0.2.53": authority(t, "corp.example.")}, absent, asked},
		"the server has another record": {
			corp, map[string]dns.HandlerFunc{"192.0.2.53": authority(t, "corp.example.", wrong)},
			expectation{problem: acme.IncorrectResponse, transient: true, detail: `"another"`}, asked},
		"the server is unreachable":         {with(corp, proof), nil, expectation{}, asked},
		"the server is not authoritative":   {corp, map[string]dns.HandlerFunc{"192.0.2.53": lame}, absent, asked},
		"the server serves another zone":    {with(corp, proof), map[string]dns.HandlerFunc{"192.0.2.53": authority(t, "other.example.")}, expectation{}, asked},
		"the resolver knows no zone":        {[]string{proof}, nil, expectation{}, ""},
		"the resolver knows no server":      {with(corp[:1], proof), nil, expectation{}, ""},
		"the zone is the root":              {[]string{". SOA ns. admin. 1 3600 600 86400 10800", ". NS ns.", "ns. A 192.0.2.53", proof}, nil, expectation{}, ""},
		"its address is denied by default":  {with(corp[:2], "ns.corp.example. A 127.0.0.1", proof), nil, expectation{}, ""},
		"its address is denied by a policy": {with(corp[:2], "ns.corp.example. A 198.51.100.53", proof), nil, expectation{}, ""},
		"a server lags behind": {
			with(corp, "corp.example. NS ns2.corp.example.", "ns2.corp.example. A 192.0.2.54"),
			map[string]dns.HandlerFunc{"192.0.2.53": authority(t, "corp.example."), "192.0.2.54": authority(t, "corp.example.", proof)}, expectation{}, "192.0.2.54:53"},
		"the name is an alias, in a zone that the resolver does not know": {
			with(corp[:3], "app.corp.example. CNAME edge.cdn.example.", "cdn.example. SOA ns.cdn.example. admin.cdn.example. 1 3600 600 86400 10800")[1:],
			nil, absent, ""},
		"the name's zone is found above an alias": {
			with(slices.Delete(slices.Clone(corp), 3, 4), "app.corp.example. CNAME edge.cdn.example.", "cdn.example. SOA ns.cdn.example. admin.cdn.example. 1 3600 600 86400 10800"),
			map[string]dns.HandlerFunc{"192.0.2.53": authority(t, "corp.example.", proof)}, expectation{}, asked},
		"the record is delegated to another server": {
			corp, map[string]dns.HandlerFunc{
				"192.0.2.53": authority(t, "corp.example.", "_acme-challenge.app.corp.example. NS ns._acme-challenge.app.corp.example.", "ns._acme-challenge.app.corp.example. A 192.0.2.60"),
				"192.0.2.60": authority(t, "_acme-challenge.app.corp.example.", proof),
			}, expectation{}, "192.0.2.60:53"},
		"the record is delegated to a server elsewhere, whose glue is not believed": {
			with(corp, "ns.dns.example. A 192.0.2.61"), map[string]dns.HandlerFunc{
				"192.0.2.53": authority(t, "corp.example.", "_acme-challenge.app.corp.example. NS ns.dns.example.", "ns.dns.example. A 192.0.2.60"),
				"192.0.2.61": authority(t, "_acme-challenge.app.corp.example.", proof),
			}, expectation{}, "192.0.2.61:53"},
		"the record is an alias in another zone": {
			with(corp, "dns.example. SOA ns.dns.example. admin.dns.example. 1 3600 600 86400 10800", "dns.example. NS ns.dns.example.", "ns.dns.example. A 192.0.2.60"),
			map[string]dns.HandlerFunc{
				"192.0.2.53": authority(t, "corp.example.", "_acme-challenge.app.corp.example. CNAME one.app.dns.example."),
				"192.0.2.60": authority(t, "dns.example.", strings.Replace(proof, "_acme-challenge.app.corp.example.", "one.app.dns.example.", 1)),
			}, expectation{}, "192.0.2.60:53"},
		"the record is an alias of itself": {
			with(corp, proof), map[string]dns.HandlerFunc{
				"192.0.2.53": authority(t, "corp.example.", "_acme-challenge.app.corp.example. CNAME _acme-challenge.b.corp.example.",
					"_acme-challenge.b.corp.example. CNAME _acme-challenge.app.corp.example."),
			}, expectation{}, asked},
	} {
		t.Run(name, func(t *testing.T) {
			w := newDNSWorld(t, networktest.Zone(t, test.resolver...), test.servers)
			w.config.Deny = prefixes("198.51.100.0/24")
			got := w.validate(t, dnsRequest(acme.DNS01, "app.corp.example"))
			test.want.check(t, got)
			if got.Record.AuthoritativeServer != test.asked {
				t.Errorf("%q was asked, not %q", got.Record.AuthoritativeServer, test.asked)
			}
			for _, address := range []string{"127.0.0.1:53", "198.51.100.53:53"} {
				if w.dials(address) > 0 {
					t.Errorf("connected to %s", address)
				}
			}
		})
	}
}

// Only the resolver verifies signatures, so it decides in a signed zone. It must not be asked too early.
func TestTheResolverDecidesInASignedZone(t *testing.T) {
	notYet := expectation{problem: acme.DNSProblem, transient: true, detail: "NXDOMAIN from 192.0.2.53"}
	for name, test := range map[string]struct {
		resolver, server []string
		want             expectation
		asked            int // queries to the resolver for the TXT record
	}{
		"the proof is not there yet":            {corp, nil, notYet, 0},
		"the resolver does not have it yet":     {corp, []string{proof}, absent, 1},
		"both have the proof":                   {with(corp, proof), []string{proof}, expectation{}, 1},
		"only the resolver has it, an old one":  {with(corp, proof), nil, notYet, 0},
		"the server has a forged, other record": {with(corp, proof), []string{`_acme-challenge.app.corp.example. TXT "x"`}, expectation{problem: acme.IncorrectResponse, transient: true}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newDNSWorld(t, verified(networktest.Zone(t, test.resolver...)), map[string]dns.HandlerFunc{"192.0.2.53": authority(t, "corp.example.", test.server...)})
			test.want.check(t, w.validate(t, dnsRequest(acme.DNS01, "app.corp.example")))
			if asked := w.names(); len(asked) != test.asked {
				t.Errorf("the resolver was asked %d times, for %q", len(asked), asked)
			}
		})
	}
}

func TestResolversAloneAreAsked(t *testing.T) {
	w := newDNSWorld(t, networktest.Zone(t, corp...), map[string]dns.HandlerFunc{"192.0.2.53": authority(t, "corp.example.", proof)})
	w.config.ResolversOnly = true
	absent.check(t, w.validate(t, dnsRequest(acme.DNS01, "app.corp.example")))
	if w.dials("192.0.2.53:53") > 0 {
		t.Error("connected to the authoritative server")
	}
}

func TestOtherTXTChallengesAskAuthoritativeServers(t *testing.T) {
	account := dnsRequest(acme.DNSAccount01, "app.corp.example")
	persist := persistRequest("app.corp.example")
	for _, test := range []struct {
		request Request
		record  string
	}{
		{account, acme.AccountLabel(account.AccountURIs[0]) + "." + proof},
		{persist, `_validation-persist.app.corp.example. TXT "ca.test; accounturi=` + persistURI("app.corp.example", testThumbprint, persist.AccountURIs[0]) + `"`},
	} {
		w := newDNSWorld(t, networktest.Zone(t, corp...), map[string]dns.HandlerFunc{"192.0.2.53": authority(t, "corp.example.", test.record)})
		w.config.CAAIdentities = []string{"ca.test"}
		expectation{}.check(t, w.validate(t, test.request))
	}
}

// In a network without access to authoritative servers, an attempt waits for one only once in a while.
func TestASilentServerIsNotAskedAgainForSomeTime(t *testing.T) {
	now := time.Now()
	w := newDNSWorld(t, networktest.Zone(t, with(corp, proof)...), map[string]dns.HandlerFunc{"192.0.2.53": func(dns.ResponseWriter, *dns.Msg) {}})
	w.config.Timeout, w.config.Now = 5*time.Second, func() time.Time { return now }
	for _, step := range []struct {
		later time.Duration
		dials int
	}{{0, 1}, {5*time.Minute - time.Second, 1}, {2 * time.Second, 2}} {
		now = now.Add(step.later)
		expectation{}.check(t, w.validate(t, dnsRequest(acme.DNS01, "app.corp.example")))
		if got := w.dials("192.0.2.53:53"); got != step.dials {
			t.Errorf("%s later: %d queries, want %d", step.later, got, step.dials)
		}
	}
}
