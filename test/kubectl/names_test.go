package kubectl

import (
	"net"

	"github.com/miekg/dns"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// serveNames runs a DNS server with only the records of a zone file, and returns its address.
func serveNames(zone ...string) string {
	GinkgoHelper()
	records := map[string][]dns.RR{}
	for _, line := range zone {
		record, err := dns.NewRR(line)
		Expect(err).NotTo(HaveOccurred())
		name := record.Header().Name
		records[name] = append(records[name], record)
	}
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	server := &dns.Server{PacketConn: packets, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, request *dns.Msg) {
		answer := new(dns.Msg)
		answer.SetReply(request)
		found, ok := records[dns.CanonicalName(request.Question[0].Name)]
		if !ok {
			answer.Rcode = dns.RcodeNameError
		}
		for _, record := range found {
			if record.Header().Rrtype == request.Question[0].Qtype {
				answer.Answer = append(answer.Answer, record)
			}
		}
		_ = w.WriteMsg(answer) // the client retries
	})}
	go func() { _ = server.ActivateAndServe() }() // ended by its listener
	DeferCleanup(packets.Close)
	return packets.LocalAddr().String()
}
