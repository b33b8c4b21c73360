package validation

import (
	"context"
	"crypto/subtle"
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/controllers/validation/network"
)

const (
	// maxTXTShown bounds a TXT value in a problem or record, in bytes. A digest has 43.
	maxTXTShown = 48
	// maxTXTListed bounds the number of values in a problem.
	maxTXTListed = 3
)

const challengeLabel = "_acme-challenge."

// dns01 validates dns-01 (RFC 8555 section 8.4): a TXT record of _acme-challenge below the name is the digest.
func (a *attempt) dns01(ctx context.Context) (verdict, *failure) {
	return a.digestAt(ctx, challengeLabel+a.req.Identifier.Value)
}

// dnsAccount01 validates dns-account-01 (draft-ietf-acme-dns-account-label-03): dns-01 at a name of the account's own, so that
// the names of several accounts can be delegated separately.
func (a *attempt) dnsAccount01(ctx context.Context) (verdict, *failure) {
	if len(a.req.AccountURIs) == 0 {
		return unproven, definite(acme.ServerInternal, "the account's URL is unknown")
	}
	return a.digestAt(ctx, acme.AccountLabel(a.req.AccountURIs[0])+"."+challengeLabel+a.req.Identifier.Value)
}

// digestAt reports proven if a TXT record of the name is the digest of the key authorization.
func (a *attempt) digestAt(ctx context.Context, name string) (verdict, *failure) {
	want := acme.DNS01Digest(a.keyAuthorization())
	return a.proveByTXT(ctx, name, func(ans network.Answer) (verdict, *failure) {
		var seen []string
		for _, rr := range ans.Records {
			value := textOf(rr)
			short := fmt.Sprintf("%q", acme.Printable(value, maxTXTShown))
			a.record.addRecord("TXT " + short)
			if subtle.ConstantTimeCompare([]byte(value), []byte(want)) == 1 {
				return proven, nil
			}
			if len(seen) < maxTXTListed {
				seen = append(seen, short)
			}
		}
		return unproven, notYet(acme.IncorrectResponse, "none of the %d TXT records of %q is the digest of the key authorization: %s",
			len(ans.Records), name, strings.Join(seen, ", "))
	})
}

// textOf returns the value of a TXT record. Its strings are joined: a value longer than 255 bytes has several.
func textOf(rr dns.RR) string { return strings.Join(rr.(*dns.TXT).Txt, "") }
