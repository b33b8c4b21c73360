package acmeserver

import (
	"slices"
	"strings"

	"github.com/acmeca/acmeca/api/acme"
)

// issuerDomainNames are the names by which records for dns-persist-01 name this issuer
// (draft-ietf-acme-dns-persist-02 section 3.1 and 3.2), the same in the directory and in every challenge. They are its
// CAA identities in their normal form; there are none where the challenge isn't offered.
func (c *call) issuerDomainNames() []string {
	if !slices.Contains(c.issuer.spec.Challenges.Types, acme.DNSPersist01) {
		return nil
	}
	var names []string
	for _, name := range c.issuer.spec.Validation.CAAIdentities {
		id, problem := acme.Identifier{Type: acme.DNS, Value: strings.TrimSuffix(name, ".")}.Normalize()
		if problem == nil {
			names = append(names, id.Value)
		}
	}
	return names
}

// accountHashPrefix is what an accounturi begins with in a record for dns-persist-01 (section 4.1). Each of the issuer's
// bases has its own; all count.
func (c *call) accountHashPrefix() string {
	if len(c.issuerDomainNames()) == 0 {
		return ""
	}
	return c.url(acme.AccountHashPath)
}
