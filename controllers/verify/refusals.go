package verify

import (
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// EndState returns the state that a deactivation leads to: "deactivated" by the client, "revoked" by a person (RFC 8555
// sections 7.1.2 and 7.1.6).
func EndState(d *v1alpha1.Deactivation) acme.State {
	if d.Request == nil {
		return acme.StateRevoked
	}
	return acme.StateDeactivated
}

// AccountEnded returns the problem of a request by an account that was deactivated or revoked (RFC 8555 section 7.3.6). The
// problem is nil if the account is not in a final state, or nil.
func AccountEnded(account *v1alpha1.AcmeAccount) *acme.Problem {
	if account == nil || !account.Status.State.Final() {
		return nil
	}
	return acme.NewProblem(acme.Unauthorized, "the account is %s", account.Status.State)
}

// NoAccount returns the problem of a request that names an account that does not exist.
func NoAccount(name string) *acme.Problem {
	return acme.NewProblem(acme.AccountDoesNotExist, "there is no account %s", name)
}

// IssuerDeleted returns the problem of an order or authorization whose issuer was deleted.
func IssuerDeleted(issuer v1alpha1.ObjectRef) *acme.Problem {
	return acme.NewProblem(acme.ServerInternal, "the issuer %q was deleted", issuer.Name)
}
