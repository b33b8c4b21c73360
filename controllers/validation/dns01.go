package validation

import (
	"context"
	"crypto/subtle"
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"github.com/acmeca/acmeca/api/acme"
)

const (
	// maxTXTShown bounds what a problem or record tells of a TXT value, in bytes; a right one has 43.
	maxTXTShown = 48
	// maxTXTListed bounds how many values a problem tells.
	maxTXTListed = 3
)

// dns01 is RFC 8555 section 8.4: one of the TXT records of _acme-challenge below the name is the digest.
func (a *attempt) dns01(ctx context.Context) (verdict, *failure) {
	name := "_acme-challenge." + a.req.Identifier.Value
	if _, ok := dns.IsDomainName(name); !ok {
		return unproven, definite(acme.DNSProblem, "%q is too long a name", acme.Printable(name, acme.MaxNameLength))
	}
	ans, failed := a.resolver.lookup(ctx, name, dns.TypeTXT)
	a.record.addAnswer(ans)
	if failed != nil {
		return unproven, failed
	}
	want := acme.DNS01Digest(a.keyAuthorization())
	var seen []string
	for _, rr := range ans.records {
		// A value longer than 255 bytes, and any that its server likes to cut, comes in several strings.
		value := strings.Join(rr.(*dns.TXT).Txt, "")
		short := fmt.Sprintf("%q", acme.Printable(value, maxTXTShown))
		a.record.addRecord("TXT " + short)
		if subtle.ConstantTimeCompare([]byte(value), []byte(want)) == 1 {
			return proven, nil
		}
		if len(seen) < maxTXTListed {
			seen = append(seen, short)
		}
	}
	switch {
	case len(seen) > 0:
		return unproven, definite(acme.IncorrectResponse, "none of the %d TXT records of %q is the digest of the key authorization: %s",
			len(ans.records), name, strings.Join(seen, ", "))
	case ans.nxdomain:
		return unproven, definite(acme.DNSProblem, "%q doesn't exist (NXDOMAIN from %s)", name, ans.server)
	}
	return unproven, definite(acme.Unauthorized, "%q has no TXT record, says %s", name, ans.server)
}
