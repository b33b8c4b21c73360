package network

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// Bounds of one lookup at authoritative servers, beside the time of its context. The owner of a name chooses its servers, delegations
// and CNAME records.
const (
	maxZoneQueries = 8 // for the zone of one name
	maxZoneServers = 3 // of one zone
	maxReferrals   = 4
	maxZones       = 5 // that CNAME records lead to
	authorityPort  = 53
)

// Authorities looks up TXT records at the authoritative servers of their zone. Resolvers keep "no such name" for up to hours, so
// a record that is queried too early stays invisible there.
//
// The resolver finds the zone and the addresses of its servers. An address is dialled only if the policy permits it.
type Authorities struct {
	Resolver *Resolver
	Policy   AddressPolicy
	// Hosts bounds the connections to each address, and remembers servers that did not answer; nil for neither.
	Hosts *Hosts
	Now   func() time.Time
}

// AuthoritativeAnswer is the answer of authoritative servers. Its Server is set as soon as a server was queried.
type AuthoritativeAnswer struct {
	Answer
	// Found is whether a server of each zone answered.
	Found bool
	// Signed is whether one of the zones is signed, as the resolver has verified (DNSSEC). The servers' answers are not verified.
	Signed bool
}

// LookupTXT returns the TXT records of a name, and follows CNAME records into other zones.
func (a *Authorities) LookupTXT(ctx context.Context, name string) AuthoritativeAnswer {
	l := authorityLookup{Authorities: a}
	l.find(ctx, a.Resolver.Absolute(name))
	return l.answer
}

// authorityLookup is one lookup with its answer so far.
type authorityLookup struct {
	*Authorities
	answer AuthoritativeAnswer
}

// find looks up the TXT records of a name.
func (l *authorityLookup) find(ctx context.Context, name string) {
	chain := []string{name}
	for len(chain) <= maxZones {
		name := chain[len(chain)-1]
		reply := l.ask(ctx, name)
		if reply == nil {
			return
		}
		records, target, fault := at(reply.Answer, name, dns.TypeTXT)
		switch {
		case fault != "", slices.Contains(chain, target):
			return // the resolver reports it
		case len(records) == 0 && target != "":
			chain = append(chain, target)
			continue
		}
		l.answer.Records, l.answer.Chain, l.answer.NXDomain = records, chain[1:], reply.Rcode == dns.RcodeNameError
		l.answer.Found = true
		return
	}
}

// zone is a DNS zone with the addresses of its servers.
type zone struct {
	name    string
	servers []netip.Addr
}

// ask returns the authoritative reply about a name, or nil if there is none. It follows delegations.
func (l *authorityLookup) ask(ctx context.Context, name string) *dns.Msg {
	asked, ok := l.zoneOf(ctx, name)
	for range maxReferrals {
		if !ok {
			return nil
		}
		reply := l.askServers(ctx, asked, name)
		if reply == nil || reply.Authoritative {
			return reply
		}
		apex, servers := referral(reply, asked.name, name)
		asked, ok = l.resolved(ctx, apex, servers, reply.Extra)
	}
	return nil
}

// zoneOf returns the zone of a name's parent, which is the zone of the name or above it. It does not query the resolver about the
// name itself, whose record may be too new. It returns false for the root zone, which has no names to certify.
func (l *authorityLookup) zoneOf(ctx context.Context, name string) (zone, bool) {
	for range maxZoneQueries {
		if name = parent(name); name == "." {
			return zone{}, false
		}
		reply, _, failed := l.Resolver.query(ctx, name, dns.TypeSOA)
		if failed != nil {
			return zone{}, false
		}
		// A name with a CNAME record is not the apex of a zone, and the reply is about its target's zone.
		if _, target, _ := at(reply.Answer, name, dns.TypeSOA); target != "" {
			continue
		}
		if apex := apexOf(reply, name); apex != "" {
			l.answer.Signed = l.answer.Signed || reply.AuthenticatedData
			return l.withServers(ctx, apex)
		}
	}
	return zone{}, false
}

// parent returns the name without its first label.
func parent(name string) string {
	if next, end := dns.NextLabel(name, 0); !end {
		return name[next:]
	}
	return "."
}

// apexOf returns the owner of the SOA record in a reply about a name; "" if there is none, or it is the root.
func apexOf(reply *dns.Msg, name string) string {
	for _, rr := range slices.Concat(reply.Answer, reply.Ns) {
		owner := dns.CanonicalName(rr.Header().Name)
		if rr.Header().Rrtype == dns.TypeSOA && owner != "." && dns.IsSubDomain(owner, name) {
			return owner
		}
	}
	return ""
}

// withServers returns a zone with its servers, as the resolver knows them.
func (l *authorityLookup) withServers(ctx context.Context, apex string) (zone, bool) {
	ans, failed := l.Resolver.Lookup(ctx, apex, dns.TypeNS)
	if failed != nil {
		return zone{}, false
	}
	return l.resolved(ctx, apex, ans.Records, nil)
}

// referral returns the zone, below from, that a reply delegates the name to, with its NS records; none if it delegates it nowhere.
func referral(reply *dns.Msg, from, name string) (apex string, servers []dns.RR) {
	for _, rr := range reply.Ns {
		owner := dns.CanonicalName(rr.Header().Name)
		below := owner != from && dns.IsSubDomain(from, owner) && dns.IsSubDomain(owner, name)
		if _, ok := rr.(*dns.NS); ok && below && (apex == "" || apex == owner) {
			apex, servers = owner, append(servers, rr)
		}
	}
	return apex, servers
}

// resolved returns a zone with the permitted addresses of its servers. The addresses of servers below the zone may come with a
// referral (glue); the resolver knows all others.
func (l *authorityLookup) resolved(ctx context.Context, apex string, servers, glue []dns.RR) (zone, bool) {
	z := zone{name: apex}
	for _, rr := range servers[:min(len(servers), maxZoneServers)] {
		host := dns.CanonicalName(rr.(*dns.NS).Ns)
		found := addressesIn(glue, host)
		if !dns.IsSubDomain(apex, host) {
			found = nil
		}
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
			if len(found) > 0 {
				break
			}
			if ans, failed := l.Resolver.Lookup(ctx, host, qtype); failed == nil {
				for _, rr := range ans.Records {
					found = append(found, addressOf(rr)...)
				}
			}
		}
		permitted := func(addr netip.Addr) bool { return l.Policy.Objection(addr) == "" }
		if i := slices.IndexFunc(found, permitted); i >= 0 {
			z.servers = append(z.servers, found[i].Unmap())
		}
	}
	return z, len(z.servers) > 0
}

// addressesIn returns the addresses of a host in a section of a reply.
func addressesIn(section []dns.RR, host string) []netip.Addr {
	var found []netip.Addr
	for _, rr := range section {
		if dns.CanonicalName(rr.Header().Name) == host {
			found = append(found, addressOf(rr)...)
		}
	}
	return found
}

// addressOf returns the address in an A or AAAA record; none for other records.
func addressOf(rr dns.RR) []netip.Addr {
	var ip net.IP
	switch rr := rr.(type) {
	case *dns.A:
		ip = rr.A.To4()
	case *dns.AAAA:
		ip = rr.AAAA.To16()
	}
	if addr, ok := netip.AddrFromSlice(ip); ok {
		return []netip.Addr{addr}
	}
	return nil
}

// askServers returns a reply of a zone's servers: the first one with records or a referral, or else one without, since a server
// can lag behind the others. It returns nil if no server answers for the zone.
func (l *authorityLookup) askServers(ctx context.Context, z zone, name string) *dns.Msg {
	var negative *dns.Msg
	for _, addr := range z.servers {
		if l.Hosts.unreachable(addr, l.Now()) || ctx.Err() != nil {
			continue
		}
		reply := l.askServer(ctx, addr, name)
		switch {
		case reply == nil:
		case !reply.Authoritative || len(reply.Answer) > 0:
			return reply
		default:
			negative = reply
		}
	}
	return negative
}

// askServer returns the reply of a server that is authoritative for the name, or refers to others. It returns nil for all other
// replies, and if there is none. The query uses TCP, which resists forgery better than UDP (RFC 8555 section 11.2). A server has
// half the time of a resolver, since there are others.
func (l *authorityLookup) askServer(ctx context.Context, addr netip.Addr, name string) *dns.Msg {
	one, cancel := context.WithTimeout(ctx, l.Resolver.timeout/2)
	defer cancel()
	release, ok := l.Hosts.Acquire(one, addr)
	if !ok {
		return nil
	}
	defer release()
	l.answer.Server = netip.AddrPortFrom(addr, authorityPort).String()
	query := new(dns.Msg).SetQuestion(name, dns.TypeTXT)
	query.RecursionDesired = false
	reply, err := l.Resolver.overTCP(one, l.answer.Server, query)
	switch {
	case err != nil && one.Err() != nil && ctx.Err() == nil:
		l.Hosts.setUnreachable(addr, l.Now())
		return nil
	case err != nil, reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError, !reply.Authoritative && !isReferral(reply):
		return nil
	}
	return reply
}
