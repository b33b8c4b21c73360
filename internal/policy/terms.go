package policy

import (
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// Agreed reports whether an account agreed to the current terms of service, identified by their URL. It is true for "".
func Agreed(account *v1alpha1.AcmeAccount, terms string) bool {
	return terms == "" || account.Status.TermsOfServiceAgreed == terms
}

// Terms refuses an account that has not agreed to the current terms of service (RFC 8555 section 7.3.3). The client agrees by an
// account update with "termsOfServiceAgreed".
func Terms(account *v1alpha1.AcmeAccount, terms string) *acme.Problem {
	if Agreed(account, terms) {
		return nil
	}
	return TermsProblem("the terms of service have changed; agree to them by updating the account with \"termsOfServiceAgreed\": true", terms)
}

// TermsProblem returns userActionRequired with the URL of the terms as its instance (RFC 8555 section 7.3.3).
func TermsProblem(reason, terms string) *acme.Problem {
	problem := acme.NewProblem(acme.UserActionRequired, "%s: %s", reason, terms)
	problem.Instance = terms
	return problem
}
