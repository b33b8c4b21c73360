package acmeserver

import (
	"slices"
	"strings"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// Authorizations of a domain that count for all names below it (RFC 9444), where the issuer lets them.

// authorizedBy lists what an authorization may be for that lets an account certify an identifier.
func (r *signed) authorizedBy(id acme.Identifier) []acme.Identifier {
	all := []acme.Identifier{id}
	if !r.issuer.spec.Challenges.Subdomains || id.Type != acme.DNS {
		return all
	}
	for name := id.Value; ; {
		_, above, found := strings.Cut(name, ".")
		if !found {
			return all
		}
		name = above
		all = append(all, acme.Identifier{Type: acme.DNS, Value: above})
	}
}

// subdomainAuthorization is an authorization of a domain for all names below it, to be made; nil where the issuer has none
// for that domain.
func (r *signed) subdomainAuthorization(domain acme.Identifier) *v1alpha1.AcmeAuthorization {
	if !r.issuer.spec.Challenges.Subdomains || domain.Type != acme.DNS || domain.Wildcard() {
		return nil
	}
	allowed, ids := r.policy(), []acme.Identifier{domain}
	if allowed.Identifiers(ids) != nil || allowed.Rules(ids, "", nil) != nil {
		return nil
	}
	authz := r.newAuthorization(domain)
	authz.Spec.Subdomains = true
	authz.Spec.Challenges = slices.DeleteFunc(authz.Spec.Challenges, func(c v1alpha1.Challenge) bool { return !c.Type.ProvesSubdomains() })
	if len(authz.Spec.Challenges) == 0 {
		return nil
	}
	return authz
}

// ancestors are the domains that a client can prove control of instead of what it orders, by identifier.
func ancestors(asked []acme.OrderIdentifier) (map[acme.Identifier]acme.Identifier, *acme.Problem) {
	found := map[acme.Identifier]acme.Identifier{}
	for _, a := range asked {
		if a.AncestorDomain == "" {
			continue
		}
		id, problem := a.Normalize()
		if problem != nil {
			return nil, problem
		}
		domain, problem := acme.Identifier{Type: acme.DNS, Value: a.AncestorDomain}.Normalize()
		if problem != nil {
			return nil, problem
		}
		if id.Type != acme.DNS || !strings.HasSuffix(id.Value, "."+domain.Value) {
			return nil, acme.NewProblem(acme.Malformed, "%q is not a domain above %q", domain.Value, id.Value).About(id)
		}
		found[id] = domain
	}
	return found, nil
}
