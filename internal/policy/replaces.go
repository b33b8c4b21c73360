package policy

import (
	"slices"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// Replaces says why an order of an account, for these identifiers, can't replace the certificate of another order (RFC 9773
// section 5): that has to be of the same account, and for one of the same identifiers at least.
func Replaces(replaced *v1alpha1.AcmeOrder, account string, identifiers []acme.Identifier) *acme.Problem {
	shared := func(id v1alpha1.Identifier) bool { return slices.Contains(identifiers, id.ACME()) }
	switch {
	case replaced.Spec.AccountRef.Name != account:
		return acme.NewProblem(acme.Unauthorized, "\"replaces\" names a certificate of another account")
	case !slices.ContainsFunc(replaced.Spec.Identifiers, shared):
		return acme.NewProblem(acme.Malformed, "\"replaces\" names a certificate that shares no identifier with this order")
	}
	return nil
}
