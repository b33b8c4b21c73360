// Package networktest contains DNS servers for tests.
package networktest

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// Listen listens on a port of loopback until the test ends.
func Listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// Serve starts a DNS server on one port of UDP and TCP.
func Serve(t *testing.T, handler dns.HandlerFunc) string {
	t.Helper()
	var tcp net.Listener
	var udp net.PacketConn
	for range 20 { // another UDP socket may have the port that TCP got
		tcp = Listen(t)
		var err error
		if udp, err = net.ListenPacket("udp", tcp.Addr().String()); err == nil {
			break
		}
	}
	if udp == nil {
		t.Fatal("no port is free for both UDP and TCP")
	}
	for _, server := range []*dns.Server{{Listener: tcp}, {PacketConn: udp}} {
		server.Handler = handler
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go func() { _ = server.ActivateAndServe() }() // until Shutdown
		<-started
		t.Cleanup(func() { _ = server.Shutdown() })
	}
	return tcp.Addr().String()
}

// Zone returns a recursive resolver with the given records, which follows CNAME records among them.
func Zone(t *testing.T, zone ...string) dns.HandlerFunc {
	t.Helper()
	records := parseZone(t, zone...)
	return func(w dns.ResponseWriter, query *dns.Msg) {
		reply := new(dns.Msg).SetReply(query)
		reply.RecursionAvailable = true
		q := query.Question[0]
		exists := false
		name := strings.ToLower(q.Name)
		for range 20 {
			found, next, known := recordsOf(records, name, q.Qtype)
			reply.Answer, exists = append(reply.Answer, found...), known
			if next == "" {
				break
			}
			name = next
		}
		if !exists {
			reply.Rcode = dns.RcodeNameError
		}
		if len(reply.Answer) == 0 {
			reply.Ns = soaAbove(records, name)
		}
		reply.Truncate(sizeFor(w, query))
		_ = w.WriteMsg(reply)
	}
}

// recordsOf returns the records of a name with a type and its CNAME records, and the target of these. known reports whether the name
// exists.
func recordsOf(records []dns.RR, name string, qtype uint16) (found []dns.RR, target string, known bool) {
	for _, rr := range records {
		if strings.ToLower(rr.Header().Name) != name {
			known = known || strings.HasSuffix(rr.Header().Name, "."+name)
			continue
		}
		known = true
		if cname, ok := rr.(*dns.CNAME); ok {
			found, target = append(found, rr), strings.ToLower(cname.Target)
		} else if rr.Header().Rrtype == qtype {
			found = append(found, rr)
		}
	}
	return found, target, known
}

// soaAbove returns the SOA record of the zone of a name; none if the records have none.
func soaAbove(records []dns.RR, name string) (found []dns.RR) {
	for _, rr := range records {
		if rr.Header().Rrtype == dns.TypeSOA && dns.IsSubDomain(rr.Header().Name, name) &&
			(found == nil || dns.CountLabel(rr.Header().Name) > dns.CountLabel(found[0].Header().Name)) {
			found = []dns.RR{rr}
		}
	}
	return found
}

func sizeFor(w dns.ResponseWriter, query *dns.Msg) int {
	if w.LocalAddr().Network() == "tcp" {
		return dns.MaxMsgSize
	}
	if opt := query.IsEdns0(); opt != nil {
		return int(opt.UDPSize())
	}
	return dns.MinMsgSize
}

func parseZone(t *testing.T, zone ...string) []dns.RR {
	t.Helper()
	var records []dns.RR
	for _, line := range zone {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		records = append(records, rr)
	}
	return records
}

// Reply returns a handler that answers with an empty reply, changed by change.
func Reply(change func(query, reply *dns.Msg)) dns.HandlerFunc {
	return func(w dns.ResponseWriter, query *dns.Msg) {
		m := new(dns.Msg).SetReply(query)
		m.RecursionAvailable = true
		change(query, m)
		_ = w.WriteMsg(m)
	}
}

// Rcode returns a handler that answers with a response code.
func Rcode(code int) dns.HandlerFunc {
	return Reply(func(_, m *dns.Msg) { m.Rcode = code })
}

// RR parses a record.
func RR(s string) dns.RR {
	rr, err := dns.NewRR(s)
	if err != nil {
		panic(err)
	}
	return rr
}

// Many returns the zone of a.test with a number of A records.
func Many(t *testing.T, n int) dns.HandlerFunc {
	var zone []string
	for i := range n {
		zone = append(zone, fmt.Sprintf("a.test. A 192.0.2.%d", i))
	}
	return Zone(t, zone...)
}
