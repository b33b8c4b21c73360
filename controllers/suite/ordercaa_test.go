package suite

import (
	"net"
	"strings"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/miekg/dns"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/attempts"
)

// caaServer is a DNS server that has CAA records alone: "issue" values by name, and names that it fails to answer for.
type caaServer struct {
	address string
	mu      sync.Mutex
	issue   map[string]string
	broken  map[string]bool
}

func newCAAServer() *caaServer {
	GinkgoHelper()
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	s := &caaServer{address: packets.LocalAddr().String(), issue: map[string]string{}, broken: map[string]bool{}}
	started := make(chan struct{})
	server := &dns.Server{PacketConn: packets, Handler: dns.HandlerFunc(s.answer), NotifyStartedFunc: sync.OnceFunc(func() { close(started) })}
	go func() { _ = server.ActivateAndServe() }() // ends by Shutdown
	<-started
	DeferCleanup(server.Shutdown)
	return s
}

func (s *caaServer) answer(w dns.ResponseWriter, request *dns.Msg) {
	answer := new(dns.Msg).SetReply(request)
	name := strings.TrimSuffix(dns.CanonicalName(request.Question[0].Name), ".")
	s.mu.Lock()
	issue, ok := s.issue[name]
	if s.broken[name] {
		answer.Rcode = dns.RcodeServerFailure
	}
	s.mu.Unlock()
	if ok && request.Question[0].Qtype == dns.TypeCAA {
		answer.Answer = []dns.RR{&dns.CAA{
			Hdr: dns.RR_Header{Name: request.Question[0].Name, Rrtype: dns.TypeCAA, Class: dns.ClassINET}, Tag: "issue", Value: issue,
		}}
	}
	_ = w.WriteMsg(answer) // the resolver asks again
}

func (s *caaServer) set(name string, broken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken[name] = broken
}

// heeding has an issuer heed the CAA records of the server, under the name "ca.test".
func (s *caaServer) heeding(spec *v1alpha1.AcmeIssuerSpec) {
	spec.Validation.Resolvers = []string{s.address}
	spec.Validation.AllowedCIDRs = []string{"127.0.0.0/8"}
	spec.Validation.CAA = v1alpha1.CAAEnforce
	spec.Validation.CAAIdentities = []string{"ca.test"}
}

// provedLongAgo returns an order whose names were proved by http-01 without a CAA check.
func provedLongAgo(ctx SpecContext, c *acmeClient, names ...string) *v1alpha1.AcmeOrder {
	GinkgoHelper()
	c.stop() // or it would validate them
	var authorizations []*v1alpha1.AcmeAuthorization
	for _, name := range names {
		authz := c.authorize(ctx, name)
		c.accept(ctx, authz)
		authorizations = append(authorizations, c.prove(ctx, authz))
	}
	c.start()
	return c.order(ctx, authorizations...)
}

var _ = Describe("An order that needs a CAA check", func() {
	It("is issued if the CAA records name this CA, or there are none", func(ctx SpecContext) {
		server := newCAAServer()
		server.issue["a.test"] = "ca.test"
		o := newOperator(ctx, server.heeding)
		c := o.registered(ctx)
		order := provedLongAgo(ctx, c, "a.test", "b.test")
		c.finalize(ctx, order)
		expectIssued(ctx, order)
	})

	It("fails where one of several names forbids it", func(ctx SpecContext) {
		server := newCAAServer()
		server.issue["a.test"], server.issue["b.test"] = "ca.test", "other.test"
		o := newOperator(ctx, server.heeding)
		c := o.registered(ctx)
		order := provedLongAgo(ctx, c, "a.test", "b.test", "c.test")
		c.finalize(ctx, order)
		problem := expectFailed(ctx, order)
		Expect(problem.Type).To(Equal(acme.CAA))
		Expect(problem.Identifier.Value).To(Equal("b.test"))
	})

	It("fails with a subproblem for each name where several do", func(ctx SpecContext) {
		server := newCAAServer()
		server.issue["a.test"], server.issue["b.test"] = ";", "other.test"
		o := newOperator(ctx, server.heeding)
		c := o.registered(ctx)
		order := provedLongAgo(ctx, c, "a.test", "b.test", "c.test")
		c.finalize(ctx, order)
		problem := expectFailed(ctx, order)
		Expect(problem.Type).To(Equal(acme.Compound))
		Expect(problem.Subproblems).To(HaveLen(2))
	})

	It("waits while they can't be looked up, says so, and is issued once they can", func(ctx SpecContext) {
		server := newCAAServer()
		server.set("a.test", true)
		o := newOperator(ctx, server.heeding)
		c := o.registered(ctx)
		order := provedLongAgo(ctx, c, "a.test")
		c.finalize(ctx, order)
		Eventually(ctx, func() metav1.Condition { return conditionOf(fresh(ctx, order)) }).WithTimeout(patience).Should(And(
			HaveField("Reason", v1alpha1.ReasonCheckingCAA), HaveField("Message", ContainSubstring("a.test")),
		))
		Expect(order.Status.Certificate).To(BeEmpty())
		server.set("a.test", false)
		Eventually(o.clock.HasWaiters).WithTimeout(patience).Should(BeTrue())
		o.clock.Step(attempts.Backoff[0])
		expectIssued(ctx, order)
	})
})
