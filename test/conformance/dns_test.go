package conformance

import (
	"net"
	"strings"
	"sync"

	"github.com/miekg/dns"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
)

// zone is a DNS server with settable TXT records, and with every name at 127.0.0.1.
type zone struct {
	address string
	mu      sync.Mutex
	txt     map[string][]string
}

func serveZone() *zone {
	GinkgoHelper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	packets, err := net.ListenPacket("udp", listener.Addr().String())
	Expect(err).NotTo(HaveOccurred())
	z := &zone{address: listener.Addr().String(), txt: map[string][]string{}}
	for _, server := range []*dns.Server{{PacketConn: packets, Handler: z}, {Listener: listener, Handler: z}} {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go server.ActivateAndServe() //nolint:errcheck // it ends by Shutdown
		<-started
		DeferCleanup(server.Shutdown)
	}
	return z
}

// ServeDNS implements dns.Handler.
func (z *zone) ServeDNS(w dns.ResponseWriter, request *dns.Msg) {
	answer := new(dns.Msg)
	answer.SetReply(request)
	question := request.Question[0]
	header := dns.RR_Header{Name: question.Name, Rrtype: question.Qtype, Class: dns.ClassINET, Ttl: 1}
	z.mu.Lock()
	defer z.mu.Unlock()
	switch question.Qtype {
	case dns.TypeA:
		answer.Answer = []dns.RR{&dns.A{Hdr: header, A: net.IPv4(127, 0, 0, 1)}}
	case dns.TypeTXT:
		for _, text := range z.txt[strings.ToLower(question.Name)] {
			answer.Answer = append(answer.Answer, &dns.TXT{Hdr: header, Txt: []string{text}})
		}
	}
	_ = w.WriteMsg(answer) // the client retries
}

// proveByDNS completes a dns-01 challenge of an authorization, and waits until the authorization is valid.
func (a *account) proveByDNS(z *zone, authorization string) {
	GinkgoHelper()
	domain := a.post(authorization, nil).json()["identifier"].(map[string]any)["value"].(string)
	c := a.challenge(authorization, "dns-01")
	z.mu.Lock()
	record := "_acme-challenge." + domain + "."
	z.txt[record] = append(z.txt[record], acme.DNS01Digest(acme.KeyAuthorization(c["token"].(string), jwstest.Key(GinkgoTB(), a.key).Thumbprint())))
	z.mu.Unlock()
	a.post(c["url"].(string), map[string]any{})
	Eventually(func() any { return a.post(authorization, nil).json()["status"] }, "20s").Should(Equal("valid"))
}
