package validation

import (
	"context"

	"github.com/miekg/dns"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/controllers/validation/network"
)

// authorityShare is the share of an attempt's time in which authoritative servers are queried.
const authorityShare = 3

// proveByTXT judges the TXT records of a name. It judges those of the authoritative servers first. It judges those of the resolver
// if the authoritative servers are unreachable, or have no proof: a name can have other records inside a network. In a signed zone
// both must have the proof, since only the resolver verifies signatures; the resolver is not queried too early then.
func (a *attempt) proveByTXT(ctx context.Context, name string, judge func(network.Answer) (verdict, *failure)) (verdict, *failure) {
	if _, ok := dns.IsDomainName(name); !ok {
		return unproven, definite(acme.DNSProblem, "the name %q is too long", acme.Printable(name, acme.MaxNameLength))
	}
	var atServers *failure
	if ans := a.authoritativeTXT(ctx, name); ans.Found {
		got, failed := a.judgeTXT(name, ans.Answer, judge)
		if (got == proven) != ans.Signed {
			return got, failed
		}
		if len(ans.Records) > 0 {
			atServers = failed
		}
	}
	ans, failed := a.lookup(ctx, name, dns.TypeTXT)
	a.record.Resolver = ans.Server
	if failed != nil {
		a.record.addAnswer(ans)
		return unproven, failed
	}
	got, failed := a.judgeTXT(name, ans, judge)
	if got != proven && atServers != nil {
		return unproven, atServers // its records are newer
	}
	return got, failed
}

// authoritativeTXT returns the TXT records of a name at its authoritative servers, if these are to be queried.
func (a *attempt) authoritativeTXT(ctx context.Context, name string) network.AuthoritativeAnswer {
	if a.resolversOnly {
		return network.AuthoritativeAnswer{}
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout/authorityShare)
	defer cancel()
	servers := network.Authorities{Resolver: a.resolver, Policy: a.policy, Hosts: a.hosts, Now: a.now}
	ans := servers.LookupTXT(ctx, name)
	a.record.AuthoritativeServer = ans.Server
	return ans
}

// judgeTXT records an answer, and judges it if it has records.
func (a *attempt) judgeTXT(name string, ans network.Answer, judge func(network.Answer) (verdict, *failure)) (verdict, *failure) {
	for _, target := range ans.Chain {
		a.record.addRecord("CNAME " + target)
	}
	switch {
	case len(ans.Records) > 0:
		return judge(ans)
	case ans.NXDomain:
		return unproven, notYet(acme.DNSProblem, "%q doesn't exist (NXDOMAIN from %s)", name, ans.Server)
	}
	return unproven, notYet(acme.Unauthorized, "%q has no TXT record (answer from %s)", name, ans.Server)
}
