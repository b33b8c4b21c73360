package policy

import (
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// Agreed reports whether an account has agreed to the terms of service that its issuer has now, by their URL; without any,
// there is nothing to agree to.
func Agreed(account *v1alpha1.AcmeAccount, terms string) bool {
	return terms == "" || account.Status.TermsOfServiceAgreed == terms
}

// Terms refuses an account that has not agreed to the present terms of service (RFC 8555 section 7.3.3). It agrees by an
// account update with "termsOfServiceAgreed".
func Terms(account *v1alpha1.AcmeAccount, terms string) *acme.Problem {
	if Agreed(account, terms) {
		return nil
	}
	return TermsProblem("the terms of service have changed; agree to them by updating the account with \"termsOfServiceAgreed\": true", terms)
}

// TermsProblem is userActionRequired, with the terms as its instance (RFC 8555 section 7.3.3).
func TermsProblem(what, terms string) *acme.Problem {
	problem := acme.NewProblem(acme.UserActionRequired, "%s: %s", what, terms)
	problem.Instance = terms
	return problem
}
