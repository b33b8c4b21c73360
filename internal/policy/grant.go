package policy

import (
	"time"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/internal/policy/grants"
)

// GrantFaults returns the reasons why grants of the issuer are ignored. Each names the field.
func (p *Policy) GrantFaults() []string { return p.grants.Faults() }

// GrantExpires returns the end of a grant; zero if it does not end.
func (p *Policy) GrantExpires(name string) time.Time { return p.grants.Expires(name) }

// CheckGrant refuses an identifier that the grant of a name does not cover now, for an order of the account (ForAccount) with a
// profile. The problem is unauthorized.
func (p *Policy) CheckGrant(name string, id acme.Identifier, profile string, now time.Time) *acme.Problem {
	request := grants.Request{Account: p.account, Identifier: id, Profile: profile, Now: now}
	if reason := p.grants.Refusal(name, request); reason != "" {
		return acme.NewProblem(acme.Unauthorized, "the grant %q does not authorize %q: %s", acme.Printable(name, 63), id.Value, reason).About(id)
	}
	return nil
}

// granted returns the name of the grant of each identifier of an order, or "". It checks those that a stored order names.
func (p *Policy) granted(terms OrderTerms, identifiers []acme.Identifier, profile string) ([]string, *acme.Problem) {
	names := make([]string, len(identifiers))
	for i, id := range identifiers {
		if terms.Granted == nil {
			names[i] = p.grants.Find(grants.Request{Account: p.account, Identifier: id, Profile: profile, Now: terms.Now})
			continue
		}
		if names[i] = terms.Granted[id]; names[i] == "" {
			continue
		}
		if problem := p.CheckGrant(names[i], id, profile, terms.Now); problem != nil {
			return nil, problem
		}
	}
	return names, nil
}
