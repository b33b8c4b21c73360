package network

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

// Resolver queries recursive DNS servers. It appends no search domain except the cluster's (see Absolute). It has no cache, since
// the servers have one.
type Resolver struct {
	servers []string
	// clusterDomain is canonical; "" for none.
	clusterDomain string
	dial          DialFunc
	// timeout of one exchange with one server.
	timeout time.Duration
	// preferred is the index of the server that answered last, so that an unreachable server costs its timeout only once.
	preferred atomic.Int32
}

// NewResolver returns a resolver for the servers, by default those of /etc/resolv.conf. The timeout is that of one exchange with one
// server.
func NewResolver(servers []string, clusterDomain string, dial DialFunc, timeout time.Duration) (*Resolver, error) {
	r := &Resolver{dial: dial, timeout: timeout}
	if clusterDomain != "" {
		r.clusterDomain = dns.CanonicalName(clusterDomain)
	}
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

// Servers returns the DNS servers in order of preference.
func (r *Resolver) Servers() []netip.AddrPort {
	servers := make([]netip.AddrPort, len(r.servers))
	for i, server := range r.servers {
		servers[i] = netip.MustParseAddrPort(server) // as parseServer wrote it
	}
	return servers
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

// Answer is the result of a lookup.
type Answer struct {
	// Records of the queried type.
	Records []dns.RR
	// Chain lists the targets of the CNAME records that were followed.
	Chain []string
	// NXDomain is whether the name, or the last of the chain, doesn't exist.
	NXDomain bool
	// Server that was queried last.
	Server string
}

// LookupError is the reason why a lookup failed. Detail is for clients.
type LookupError struct {
	Detail string
	// Transient is whether another lookup may succeed.
	Transient bool
}

// Absolute returns the canonical form of a name. It appends the cluster's domain to a Service's short name,
// "name.namespace.svc", as every Pod's search list does: cluster DNS only has the full name.
func (r *Resolver) Absolute(name string) string {
	name = dns.CanonicalName(name)
	if r.clusterDomain != "" && strings.HasSuffix(name, ".svc.") {
		return name + r.clusterDomain
	}
	return name
}

// Lookup returns the records of a type, and follows CNAME records that the server has not followed. An answer without records
// is no failure.
func (r *Resolver) Lookup(ctx context.Context, name string, qtype uint16) (Answer, *LookupError) {
	name = r.Absolute(name)
	ans := Answer{}
	chain := []string{name}
	for {
		reply, server, failed := r.query(ctx, chain[len(chain)-1], qtype)
		ans.Server = server
		if failed != nil {
			return ans, failed
		}
		known := len(chain)
		var fault string
		ans.Records, chain, fault = follow(reply, chain, qtype)
		ans.Chain = chain[1:]
		if fault != "" {
			return ans, lookupError("%s of %s: %s", dns.TypeToString[qtype], QuoteName(name), fault)
		}
		ans.NXDomain = reply.Rcode == dns.RcodeNameError
		if len(ans.Records) > 0 || ans.NXDomain || len(chain) == known {
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
func (r *Resolver) query(ctx context.Context, name string, qtype uint16) (reply *dns.Msg, server string, failed *LookupError) {
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
			timedOut = timedOut || Reason(err) == "timed out"
			failed = lookupFailure(err, name, qtype, server)
			if ctx.Err() != nil {
				break
			}
		}
		if !timedOut || ctx.Err() != nil {
			break
		}
	}
	failed.Transient = mayRetry
	return nil, server, failed
}

func lookupError(format string, args ...any) *LookupError {
	return &LookupError{Detail: fmt.Sprintf(format, args...)}
}

// lookupFailure returns the failure for the error of an exchange.
func lookupFailure(err error, name string, qtype uint16, server string) *LookupError {
	var rcode rcodeError
	why := Reason(err)
	switch {
	case errors.As(err, &rcode):
		why = rcode.Error()
	case errors.Is(err, errBadReply):
		why = err.Error()
	case why == "":
		why = "failed"
	}
	return lookupError("%s of %s from %s: %s", dns.TypeToString[qtype], QuoteName(name), server, why)
}

// QuoteName returns a quoted name for problems, without the final dot.
func QuoteName(name string) string {
	return fmt.Sprintf("%q", acme.Printable(strings.TrimSuffix(name, "."), acme.MaxNameLength))
}
