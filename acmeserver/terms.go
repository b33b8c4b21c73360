package acmeserver

import (
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// agreed reports whether the account has agreed to the terms of service that the issuer has now; without any, there is
// nothing to agree to.
func (c *call) agreed(account *v1alpha1.AcmeAccount) bool {
	terms := c.issuer.spec.Account.TermsOfService
	return terms == "" || account.Status.TermsOfServiceAgreed == terms
}

// agreeing keeps from issuance an account that hasn't agreed to the present terms of service (RFC 8555 section 7.3.3). It
// agrees by an account update with "termsOfServiceAgreed".
func (r *signed) agreeing() error {
	if !r.agreed(r.account) {
		return termsProblem("the terms of service have changed; agree to them by updating the account with \"termsOfServiceAgreed\": true", r.issuer.spec.Account.TermsOfService)
	}
	return nil
}

// termsProblem is sent with a link to the terms (RFC 8555 section 7.3.3).
func termsProblem(what, terms string) *acme.Problem {
	problem := acme.NewProblem(acme.UserActionRequired, "%s: %s", what, terms)
	problem.Instance = terms
	return problem
}
