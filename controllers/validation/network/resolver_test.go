package network

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/acmeca/acmeca/controllers/validation/network/networktest"
)

func testResolver(t *testing.T, timeout time.Duration, servers ...string) *Resolver {
	t.Helper()
	r, err := NewResolver(servers, "", nil, timeout)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func overTCP(w dns.ResponseWriter) bool { return w.LocalAddr().Network() == "tcp" }

func TestParseServer(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1:53", "192.0.2.1:5353": "192.0.2.1:5353", "2001:db8::1": "[2001:db8::1]:53",
		"[2001:db8::1]": "[2001:db8::1]:53", "[2001:db8::1]:5353": "[2001:db8::1]:5353", "fe80::1%eth0": "[fe80::1%eth0]:53",
		"": "", "dns.test": "", "dns.test:53": "", "192.0.2.1:": "", "192.0.2.1:0": "", "192.0.2.1:99999": "", "[]": "",
	} {
		got, err := parseServer(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v", in, got, err)
		}
	}
}

func TestResolversOfTheSystem(t *testing.T) {
	_, err := NewResolver(nil, "", nil, time.Second)
	_, statErr := os.Stat(resolvConf)
	if (err == nil) != (statErr == nil) {
		t.Errorf("got %v", err)
	}
}

func TestLookupQuery(t *testing.T) {
	queries := make(chan *dns.Msg, 1)
	server := networktest.Serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		queries <- q.Copy()
		networktest.Zone(t, "a.test. A 192.0.2.1")(w, q)
	})
	ans, failed := testResolver(t, 30*time.Second, server).Lookup(t.Context(), "A.test", dns.TypeA)
	if failed != nil || len(ans.Records) != 1 || ans.Server != server {
		t.Fatalf("got %v, %v", ans, failed)
	}
	query := <-queries
	if !query.RecursionDesired || query.CheckingDisabled || query.IsEdns0() == nil || query.IsEdns0().UDPSize() != udpPayload {
		t.Errorf("asked %v", query)
	}
	if query.Question[0].Name != "a.test." {
		t.Errorf("asked for %q", query.Question[0].Name)
	}
}

func TestLookupOutcomes(t *testing.T) {
	a := networktest.RR("a.test. A 192.0.2.1")
	flood := func(n int) []dns.RR {
		list := []dns.RR{networktest.RR("a.test. CNAME c0.test.")}
		for i := range n {
			list = append(list, networktest.RR(fmt.Sprintf("c%d.test. CNAME c%d.test.", i, i+1)))
		}
		return append(list, networktest.RR(fmt.Sprintf("c%d.test. A 192.0.2.1", n)))
	}
	zone := func(records ...string) dns.HandlerFunc { return networktest.Zone(t, records...) }
	for name, c := range map[string]struct {
		handler dns.HandlerFunc
		// failure is a part of the detail, or "" for an answer with the number of records.
		failure   string
		transient bool
		records   int
		nxdomain  bool
	}{
		"one record":       {handler: zone("a.test. A 192.0.2.1"), records: 1},
		"none of the type": {handler: zone("a.test. AAAA 2001:db8::1")},
		"no such name":     {handler: zone("b.test. A 192.0.2.1"), nxdomain: true},
		"CNAME":            {handler: zone("a.test. CNAME b.test.", "b.test. CNAME C.test.", "c.test. A 192.0.2.1"), records: 1},
		"CNAME to nowhere": {handler: zone("a.test. CNAME b.test."), nxdomain: true},
		"CNAME loop":       {handler: zone("a.test. CNAME b.test.", "b.test. CNAME a.test."), failure: "form a loop"},
		"CNAME to itself":  {handler: zone("a.test. CNAME A.test."), failure: "form a loop"},
		"ten CNAMEs":       {handler: networktest.Reply(func(_, m *dns.Msg) { m.Answer = flood(9) }), records: 1},
		"eleven CNAMEs":    {handler: networktest.Reply(func(_, m *dns.Msg) { m.Answer = flood(10) }), failure: "chain of CNAME records is too long"},
		"SERVFAIL":         {handler: networktest.Rcode(dns.RcodeServerFailure), failure: "SERVFAIL", transient: true},
		"REFUSED":          {handler: networktest.Rcode(dns.RcodeRefused), failure: "REFUSED", transient: true},
		"an unknown code": {handler: networktest.Reply(func(_, m *dns.Msg) {
			m.SetEdns0(udpPayload, false)
			m.Rcode = 3841
		}), failure: "RCODE3841", transient: true},
		"NOTIMP":                 {handler: networktest.Rcode(dns.RcodeNotImplemented), failure: "NOTIMP", transient: true},
		"too big for a datagram": {handler: networktest.Many(t, 100), records: 100},
		"a record for another name": {handler: networktest.Reply(func(_, m *dns.Msg) {
			m.Answer = []dns.RR{networktest.RR("b.test. A 192.0.2.1")}
		})},
		"records of another class": {handler: networktest.Reply(func(_, m *dns.Msg) {
			m.Answer = []dns.RR{networktest.RR("a.test. CH A 192.0.2.1"), networktest.RR("a.test. CH CNAME b.test.")}
		})},
		"a record in the additional section": {handler: networktest.Reply(func(_, m *dns.Msg) { m.Extra = []dns.RR{a} })},
		"a record without data": {handler: networktest.Reply(func(_, m *dns.Msg) {
			m.Answer = []dns.RR{&dns.ANY{Hdr: dns.RR_Header{Name: "a.test.", Rrtype: dns.TypeA, Class: dns.ClassINET}}}
		}), failure: "no data"},
		"a referral": {handler: networktest.Reply(func(_, m *dns.Msg) {
			m.RecursionAvailable = false
			m.Ns = []dns.RR{networktest.RR(". NS a.root-servers.net.")}
		}), failure: "referral"},
		"none, with SOA": {handler: networktest.Reply(func(_, m *dns.Msg) {
			m.Ns = []dns.RR{networktest.RR("test. SOA a. b. 1 2 3 4 5")}
		})},
		"none, with authority": {handler: networktest.Reply(func(_, m *dns.Msg) {
			m.Authoritative = true
			m.Ns = []dns.RR{networktest.RR("test. NS ns.test.")}
		})},
		"truncated over TCP": {handler: networktest.Reply(func(_, m *dns.Msg) {
			m.Truncated = true
			m.Answer = []dns.RR{a}
		}), failure: "truncated over TCP"},
		"only without EDNS": {handler: func(w dns.ResponseWriter, q *dns.Msg) {
			if q.IsEdns0() != nil {
				// RFC 6891 section 7: such a server may omit even the question.
				w.WriteMsg(&dns.Msg{MsgHdr: dns.MsgHdr{Id: q.Id, Response: true, Rcode: dns.RcodeFormatError}})
				return
			}
			zone("a.test. A 192.0.2.1")(w, q)
		}, records: 1},
		"a flood of stray datagrams": {handler: func(w dns.ResponseWriter, q *dns.Msg) {
			if !overTCP(w) {
				for i := range 100 {
					m := new(dns.Msg).SetReply(q)
					m.Id = q.Id + 1 + uint16(i)
					m.Answer = []dns.RR{networktest.RR("a.test. A 192.0.2.66")}
					w.WriteMsg(m)
				}
				return
			}
			zone("a.test. A 192.0.2.1")(w, q)
		}, records: 1},
		"malformed over UDP": {handler: func(w dns.ResponseWriter, q *dns.Msg) {
			if !overTCP(w) {
				w.Write(append(binary.BigEndian.AppendUint16(nil, q.Id), "\x81\x80\x00\x01\x00\x09\x00\x00\x00\x00\xc0\x0c"...))
				return
			}
			zone("a.test. A 192.0.2.1")(w, q)
		}, records: 1},
		"malformed": {handler: func(w dns.ResponseWriter, q *dns.Msg) {
			w.Write(append(binary.BigEndian.AppendUint16(nil, q.Id), 0x81, 0x80, 1))
		}, failure: "malformed"},
		"stray over TCP": {handler: func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetReply(q)
			m.Truncated = !overTCP(w)
			if overTCP(w) {
				m.Id++
			}
			w.WriteMsg(m)
		}, failure: "another query"},
		"closes TCP": {handler: func(w dns.ResponseWriter, q *dns.Msg) {
			if overTCP(w) {
				w.Close()
				return
			}
			m := new(dns.Msg).SetReply(q)
			m.Truncated = true
			w.WriteMsg(m)
		}, failure: "closed early", transient: true},
		"cut where it was truncated": {handler: func(w dns.ResponseWriter, q *dns.Msg) {
			if overTCP(w) {
				zone("a.test. A 192.0.2.1")(w, q)
				return
			}
			m := new(dns.Msg).SetReply(q)
			m.Truncated = true
			m.Answer = []dns.RR{a, a}
			packed, _ := m.Pack()
			w.Write(packed[:len(packed)-3])
		}, records: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ans, failed := testResolver(t, 30*time.Second, networktest.Serve(t, c.handler)).Lookup(t.Context(), "a.test", dns.TypeA)
			if failed == nil {
				if c.failure != "" || len(ans.Records) != c.records || ans.NXDomain != c.nxdomain {
					t.Errorf("got %+v", ans)
				}
				return
			}
			if c.failure == "" || !strings.Contains(failed.Detail, c.failure) || failed.Transient != c.transient {
				t.Errorf("got %v (transient: %v)", failed.Detail, failed.Transient)
			}
		})
	}
}

// Injected replies are ignored, and the genuine reply that follows is accepted.
func TestLookupIgnoresSpoofedDatagrams(t *testing.T) {
	for name, spoil := range map[string]func(*dns.Msg){
		"wrong id":      func(m *dns.Msg) { m.Id++ },
		"other name":    func(m *dns.Msg) { m.Question[0].Name = "b.test." },
		"other type":    func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeTXT },
		"other class":   func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS },
		"no question":   func(m *dns.Msg) { m.Question = nil },
		"two questions": func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) },
		"a query":       func(m *dns.Msg) { m.Response = false },
		"an update":     func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate },
	} {
		t.Run(name, func(t *testing.T) {
			server := networktest.Serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
				if overTCP(w) {
					t.Error("asked over TCP")
				}
				bad := new(dns.Msg).SetReply(q)
				bad.Answer = []dns.RR{networktest.RR("a.test. A 192.0.2.66")}
				spoil(bad)
				w.WriteMsg(bad)
				w.Write(nil)
				good := new(dns.Msg).SetReply(q)
				good.Question[0].Name = "A.TEST." // the case may change on the way
				good.Answer = []dns.RR{networktest.RR("A.teSt. A 192.0.2.1")}
				w.WriteMsg(good)
			})
			ans, failed := testResolver(t, 30*time.Second, server).Lookup(t.Context(), "a.test", dns.TypeA)
			if failed != nil || len(ans.Records) != 1 || ans.Records[0].(*dns.A).A.String() != "192.0.2.1" {
				t.Errorf("got %v, %v", ans, failed)
			}
		})
	}
}

// pipedDNS is a network of DNS servers by address, without sockets, for a synctest bubble, where timeouts take no time. A pipe
// preserves the bounds of each write, as datagrams do. A server that returns nil does not answer.
type pipedDNS map[string]func(*dns.Msg) *dns.Msg

func (p pipedDNS) dial(_ context.Context, _, address string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		buf := make([]byte, udpBuffer)
		n, err := theirs.Read(buf)
		if err != nil {
			return
		}
		query := new(dns.Msg)
		if err := query.Unpack(buf[:n]); err != nil {
			panic(err)
		}
		if reply := p[address](query); reply != nil {
			packed, err := reply.Pack()
			if err != nil {
				panic(err)
			}
			theirs.Write(packed)
		}
		theirs.Read(buf) // until the other side closes
	}()
	return ours, nil
}

func (p pipedDNS) resolver(t *testing.T, servers ...string) *Resolver {
	t.Helper()
	r, err := NewResolver(servers, "", p.dial, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func answerA(query *dns.Msg) *dns.Msg {
	m := new(dns.Msg).SetReply(query)
	m.Answer = []dns.RR{networktest.RR("a.test. A 192.0.2.1")}
	return m
}

func TestLookupTriesOtherServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var silentAsked atomic.Int32
		p := pipedDNS{
			"192.0.2.1:53": func(q *dns.Msg) *dns.Msg { return new(dns.Msg).SetRcode(q, dns.RcodeRefused) },
			"192.0.2.2:53": func(q *dns.Msg) *dns.Msg {
				m := answerA(q)
				m.Ns, m.Answer = []dns.RR{networktest.RR(". NS x.test.")}, nil // a referral
				return m
			},
			"192.0.2.3:53": func(*dns.Msg) *dns.Msg { silentAsked.Add(1); return nil },
			"192.0.2.4:53": answerA,
		}
		r := p.resolver(t, "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4")
		for range 3 {
			ans, failed := r.Lookup(t.Context(), "a.test", dns.TypeA)
			if failed != nil || ans.Server != "192.0.2.4:53" {
				t.Fatalf("got %v, %v", ans, failed)
			}
		}
		if silentAsked.Load() != 1 {
			t.Errorf("the silent server was asked %d times, although another answers", silentAsked.Load())
		}
	})
}

func TestLookupAsksAgainAfterTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked, lost atomic.Int32
		lost.Store(1)
		r := pipedDNS{"192.0.2.1:53": func(q *dns.Msg) *dns.Msg {
			if asked.Add(1) <= lost.Load() {
				return nil
			}
			return answerA(q)
		}}.resolver(t, "192.0.2.1")
		if _, failed := r.Lookup(t.Context(), "a.test", dns.TypeA); failed != nil || asked.Load() != 2 {
			t.Errorf("got %v after %d queries", failed, asked.Load())
		}
		asked.Store(0)
		lost.Store(100)
		_, failed := r.Lookup(t.Context(), "a.test", dns.TypeA)
		if failed == nil || !failed.Transient || !strings.Contains(failed.Detail, "timed out") || asked.Load() != 2 {
			t.Errorf("got %v after %d queries", failed, asked.Load())
		}
	})
}

func TestLookupEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		ctx, cancel := context.WithCancel(t.Context())
		silent := func(*dns.Msg) *dns.Msg { asked.Add(1); cancel(); return nil }
		r := pipedDNS{"192.0.2.1:53": silent, "192.0.2.2:53": silent}.resolver(t, "192.0.2.1", "192.0.2.2")
		_, failed := r.Lookup(ctx, "a.test", dns.TypeA)
		if failed == nil || !strings.Contains(failed.Detail, "cancelled") || asked.Load() != 1 {
			t.Errorf("got %v after %d queries", failed, asked.Load())
		}
	})
}

// CNAME records that a server does not follow are followed by the resolver, with a query each and the same bounds.
func TestLookupFollowsCNAMEs(t *testing.T) {
	for _, c := range []struct {
		links   int
		failure string
	}{{3, ""}, {maxCNAMEs, ""}, {maxCNAMEs + 1, "chain of CNAME records is too long"}, {-1, "loop"}} {
		var queries atomic.Int32
		server := networktest.Serve(t, networktest.Reply(func(q, m *dns.Msg) {
			queries.Add(1)
			var n int
			fmt.Sscanf(q.Question[0].Name, "n%d.test.", &n)
			switch {
			case c.links < 0:
				m.Answer = []dns.RR{networktest.RR(fmt.Sprintf("n%d.test. CNAME n%d.test.", n, (n+1)%3))}
			case n < c.links:
				m.Answer = []dns.RR{networktest.RR(fmt.Sprintf("n%d.test. CNAME n%d.test.", n, n+1))}
			default:
				m.Answer = []dns.RR{networktest.RR(fmt.Sprintf("n%d.test. A 192.0.2.1", n))}
			}
		}))
		ans, failed := testResolver(t, 30*time.Second, server).Lookup(t.Context(), "n0.test", dns.TypeA)
		if failed == nil && (c.failure != "" || len(ans.Records) != 1 || len(ans.Chain) != c.links) {
			t.Errorf("%d links: got %+v", c.links, ans)
		}
		if failed != nil && (c.failure == "" || !strings.Contains(failed.Detail, c.failure)) {
			t.Errorf("%d links: got %v", c.links, failed.Detail)
		}
		if queries.Load() > maxCNAMEs+1 {
			t.Errorf("%d links: %d queries", c.links, queries.Load())
		}
	}
}

func TestLookupOfAnImpossibleName(t *testing.T) {
	server := networktest.Serve(t, networktest.Zone(t))
	_, failed := testResolver(t, time.Second, server).Lookup(t.Context(), strings.Repeat("a", 64)+".test", dns.TypeA)
	if failed == nil || failed.Transient {
		t.Errorf("got %v", failed)
	}
}

// The resolvers' dialer is used for UDP and TCP, and its errors are not shown to the client.
func TestResolverDialer(t *testing.T) {
	r, err := NewResolver([]string{"192.0.2.53"}, "", func(_ context.Context, _, address string) (net.Conn, error) {
		if address != "192.0.2.53:53" {
			t.Errorf("dialled %s", address)
		}
		return nil, errors.New("SECRET")
	}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	_, failed := r.Lookup(t.Context(), "a.test", dns.TypeA)
	if failed == nil || strings.Contains(failed.Detail, "SECRET") {
		t.Errorf("got %v", failed)
	}
}

// failingConn is a connection whose first write or read fails.
type failingConn struct{ net.Conn }

func (failingConn) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
func (failingConn) Close() error              { return nil }

func TestResolverWriteFails(t *testing.T) {
	r, err := NewResolver([]string{"192.0.2.53"}, "", func(context.Context, string, string) (net.Conn, error) {
		return failingConn{}, nil
	}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	query := new(dns.Msg).SetQuestion("a.test.", dns.TypeA)
	if _, err := r.overUDP(t.Context(), "192.0.2.53:53", query); err == nil {
		t.Error("UDP succeeded")
	}
	if _, err := r.overTCP(t.Context(), "192.0.2.53:53", query); err == nil {
		t.Error("TCP succeeded")
	}
}

// FuzzDNSReply searches for messages that make the resolver panic, loop, or accept a record that was not queried.
func FuzzDNSReply(f *testing.F) {
	query := new(dns.Msg).SetQuestion("a.test.", dns.TypeTXT)
	for _, records := range [][]string{
		{"a.test. TXT hello world"},
		{"a.test. CNAME b.test.", "b.test. CNAME a.test."},
		{"A.test. CNAME b.test.", "b.test. TXT x", "b.test. A 192.0.2.1"},
		{`a.test. CAA 0 issue "ca.test"`},
	} {
		m := new(dns.Msg).SetReply(query)
		for _, s := range records {
			m.Answer = append(m.Answer, networktest.RR(s))
		}
		packed, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeCAA} {
			query.Question[0].Qtype = qtype
			if len(raw) >= 2 {
				binary.BigEndian.PutUint16(raw, query.Id)
			}
			reply, err := parseReply(raw, query)
			if err != nil {
				continue
			}
			isReferral(reply)
			records, chain, _ := follow(reply, []string{"a.test."}, qtype)
			if len(chain) > maxCNAMEs+1 {
				t.Errorf("a chain of %d names", len(chain))
			}
			for _, rr := range records {
				if rr.Header().Rrtype != qtype || dns.CanonicalName(rr.Header().Name) != chain[len(chain)-1] {
					t.Errorf("took %v", rr)
				}
				consume(rr)
			}
		}
	})
}

// consume uses a record as the callers of Lookup do.
func consume(rr dns.RR) {
	switch rr := rr.(type) {
	case *dns.A:
		_ = rr.A.To4()
	case *dns.AAAA:
		_ = rr.AAAA.To16()
	case *dns.TXT:
		_ = strings.Join(rr.Txt, "")
	case *dns.CAA:
		_ = rr.String()
	default:
		panic(fmt.Sprintf("a record of type %T", rr))
	}
}
