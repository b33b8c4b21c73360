package issuer

import (
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/internal/policy"
)

// warnSizes warns of answers that can exceed the size that all known clients read.
func warnSizes(issuer *issuers.Issuer) {
	identifiers := 0
	for _, profile := range issuer.Spec.Profiles {
		identifiers = max(identifiers, profile.MaxIdentifiers)
	}
	order := 0
	for _, base := range issuer.Bases {
		order = max(order, policy.OrderSize(base, identifiers))
	}
	warn := func(what string, size int, advice string) {
		if size > policy.MaxClientAnswer {
			issuer.Warn("%s with %d names can have %d KiB, and some clients, such as NGINX's, read %d KiB: %s",
				what, identifiers, size>>10, policy.MaxClientAnswer>>10, advice)
		}
	}
	warn("an order", order, "lower maxIdentifiers of the profiles, or shorten externalURLs")
	warn("a certificate", policy.ChainSize(identifiers, len(issuer.Chain)), "lower maxIdentifiers of the profiles, or shorten the CA's chain")
}
