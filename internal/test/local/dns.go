package local

import (
	"net"
	"sync"

	"github.com/miekg/dns"
)

// dnsZone is the domain whose names resolve here. RFC 2606 reserves it for testing.
const dnsZone = "test."

// dnsTTL is in seconds.
const dnsTTL = 60

// A dnsServer answers for the zone: every name in the zone has the loopback address and no other records.
type dnsServer struct {
	servers []*dns.Server
	done    sync.WaitGroup
}

func startDNS(port int) (*dnsServer, error) {
	d := &dnsServer{}
	packets, err := net.ListenPacket("udp", address(port))
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", address(port))
	if err != nil {
		_ = packets.Close() // err matters more
		return nil, err
	}
	handler := dns.HandlerFunc(answerDNS)
	d.servers = []*dns.Server{{PacketConn: packets, Handler: handler}, {Listener: listener, Handler: handler}}
	for _, server := range d.servers {
		started := make(chan struct{})
		server.NotifyStartedFunc = sync.OnceFunc(func() { close(started) })
		d.done.Go(func() { _ = server.ActivateAndServe() }) // ended by stop
		<-started                                           // stop works only on a started server
	}
	return d, nil
}

func (d *dnsServer) stop() {
	if d == nil {
		return
	}
	for _, server := range d.servers {
		_ = server.Shutdown()
	}
	d.done.Wait()
}

func answerDNS(w dns.ResponseWriter, request *dns.Msg) {
	answer := new(dns.Msg)
	answer.SetReply(request)
	answer.Authoritative = true
	switch {
	case len(request.Question) != 1:
		answer.Rcode = dns.RcodeFormatError
	case !dns.IsSubDomain(dnsZone, dns.CanonicalName(request.Question[0].Name)):
		answer.Rcode = dns.RcodeNameError
	case request.Question[0].Qtype == dns.TypeA:
		answer.Answer = []dns.RR{&dns.A{
			Hdr: dns.RR_Header{Name: request.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: dnsTTL},
			A:   net.IPv4(127, 0, 0, 1),
		}}
	}
	_ = w.WriteMsg(answer) // the client retries
}

// StartDNS serves names under .test, all with the loopback address, on a port of loopback until stop is called.
func StartDNS(port int) (stop func(), err error) {
	d, err := startDNS(port)
	if err != nil {
		return nil, err
	}
	return d.stop, nil
}
