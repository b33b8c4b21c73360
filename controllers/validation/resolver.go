package validation

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/acmeca/acmeca/api/acme"
)

// maxCNAMEs bounds a chain of CNAME records. Resolvers themselves allow eight to sixteen.
const maxCNAMEs = 10

const resolvConf = "/etc/resolv.conf"

// resolver queries recursive DNS servers. It appends no search domain except the cluster's (see absolute). It has no cache, since
// the servers have one.
type resolver struct {
	servers []string
	// clusterDomain is canonical; "" for none.
	clusterDomain string
	dial          DialFunc
	// timeout of one exchange with one server.
	timeout time.Duration
	// preferred is the index of the server that answered last, so that an unreachable server costs its timeout only once.
	preferred atomic.Int32
}

// newResolver returns a resolver for the servers, by default those of /etc/resolv.conf.
func newResolver(servers []string, dial DialFunc, timeout time.Duration) (*resolver, error) {
	r := &resolver{dial: dial, timeout: timeout}
	if r.dial == nil {
		r.dial = new(net.Dialer).DialContext
	}
	if len(servers) == 0 {
		config, err := dns.ClientConfigFromFile(resolvConf)
		if err != nil {
			return nil, fmt.Errorf("no resolvers are configured: %w", err)
		}
		servers = config.Servers
	}
	for _, s := range servers {
		server, err := parseServer(s)
		if err != nil {
			return nil, err
		}
		r.servers = append(r.servers, server)
	}
	if len(r.servers) == 0 {
		return nil, fmt.Errorf("no resolvers are configured, and %s has none", resolvConf)
	}
	return r, nil
}

// parseServer returns the IP address and port of a server; the default port is 53. Names are rejected: they would need a resolver.
func parseServer(s string) (string, error) {
	if addrPort, err := netip.ParseAddrPort(s); err == nil && addrPort.Port() != 0 {
		return addrPort.String(), nil
	}
	bare := s
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		bare = s[1 : len(s)-1]
	}
	addr, err := netip.ParseAddr(bare)
	if err != nil {
		return "", fmt.Errorf("resolver %q is not an IP address, with or without a port", s)
	}
	return netip.AddrPortFrom(addr, 53).String(), nil
}

// answer is the result of a lookup.
type answer struct {
	// records of the queried type.
	records []dns.RR
	// chain lists the targets of the CNAME records that were followed.
	chain []string
	// nxdomain is whether the name, or the last of the chain, doesn't exist.
	nxdomain bool
	// server that was queried last.
	server string
}

func (r *Record) addAnswer(ans answer) {
	r.Resolver = ans.server
	for _, name := range ans.chain {
		r.addRecord("CNAME " + name)
	}
}

// absolute returns the canonical form of a name. It appends the cluster's domain to a Service's short name,
// "name.namespace.svc", as every Pod's search list does: cluster DNS only has the full name.
func (r *resolver) absolute(name string) string {
	name = dns.CanonicalName(name)
	if r.clusterDomain != "" && strings.HasSuffix(name, ".svc.") {
		return name + r.clusterDomain
	}
	return name
}

// lookup returns the records of a type, and follows CNAME records that the server has not followed. An answer without records
// is no failure.
func (r *resolver) lookup(ctx context.Context, name string, qtype uint16) (answer, *failure) {
	name = r.absolute(name)
	ans := answer{}
	chain := []string{name}
	for {
		reply, server, failed := r.query(ctx, chain[len(chain)-1], qtype)
		ans.server = server
		if failed != nil {
			return ans, failed
		}
		known := len(chain)
		var fault string
		ans.records, chain, fault = follow(reply, chain, qtype)
		ans.chain = chain[1:]
		if fault != "" {
			return ans, definite(acme.DNSProblem, "%s of %s: %s", dns.TypeToString[qtype], shown(name), fault)
		}
		ans.nxdomain = reply.Rcode == dns.RcodeNameError
		if len(ans.records) > 0 || ans.nxdomain || len(chain) == known {
			return ans, nil
		}
	}
}

// follow returns the records of a type in a reply for the last name of the chain, or for the target of its CNAME records, which
// it appends to the chain. It ignores all other records.
func follow(reply *dns.Msg, chain []string, qtype uint16) (records []dns.RR, longer []string, fault string) {
	for {
		name := chain[len(chain)-1]
		records, target, fault := at(reply.Answer, name, qtype)
		if fault != "" {
			return nil, chain, fault
		}
		if len(records) > 0 || target == "" {
			return records, chain, ""
		}
		if slices.Contains(chain, target) {
			return nil, chain, "its CNAME records form a loop"
		}
		if len(chain) > maxCNAMEs {
			return nil, chain, "its chain of CNAME records is too long"
		}
		chain = append(chain, target)
	}
}

// at returns the records of a name, and the target of its CNAME record.
func at(section []dns.RR, name string, qtype uint16) (records []dns.RR, target, fault string) {
	for _, rr := range section {
		h := rr.Header()
		if h.Class != dns.ClassINET || dns.CanonicalName(h.Name) != name {
			continue
		}
		if h.Rrtype == qtype {
			// The parser accepts records without data, since they occur in dynamic updates. Such a record is a fault, not absent.
			if h.Rdlength == 0 {
				return nil, "", "a record has no data"
			}
			records = append(records, rr)
		}
		if cname, ok := rr.(*dns.CNAME); ok && target == "" && cname.Target != "" {
			target = dns.CanonicalName(cname.Target)
		}
	}
	return records, target, ""
}

// query queries the servers one after the other, and all of them a second time if one timed out: a datagram can be lost.
func (r *resolver) query(ctx context.Context, name string, qtype uint16) (reply *dns.Msg, server string, failed *failure) {
	first := int(r.preferred.Load())
	mayRetry := false
	for range 2 {
		timedOut := false
		for i := range r.servers {
			index := (first + i) % len(r.servers)
			server = r.servers[index]
			reply, err := r.exchange(ctx, server, name, qtype)
			if err == nil {
				r.preferred.Store(int32(index))
				return reply, server, nil
			}
			mayRetry = mayRetry || !errors.Is(err, errBadReply)
			timedOut = timedOut || reason(err) == "timed out"
			failed = lookupFailure(err, name, qtype, server)
			if ctx.Err() != nil {
				break
			}
		}
		if !timedOut || ctx.Err() != nil {
			break
		}
	}
	failed.transient = mayRetry
	return nil, server, failed
}

// lookupFailure returns the failure for the error of an exchange.
func lookupFailure(err error, name string, qtype uint16, server string) *failure {
	var rcode rcodeError
	why := reason(err)
	switch {
	case errors.As(err, &rcode):
		why = rcode.Error()
	case errors.Is(err, errBadReply):
		why = err.Error()
	case why == "":
		why = "failed"
	}
	return definite(acme.DNSProblem, "%s of %s from %s: %s", dns.TypeToString[qtype], shown(name), server, why)
}

// shown returns a quoted name for problems, without the final dot.
func shown(name string) string {
	return fmt.Sprintf("%q", acme.Printable(strings.TrimSuffix(name, "."), acme.MaxNameLength))
}
