package policy

import (
	"slices"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// Replaces refuses an order, for an account and identifiers, that cannot replace the certificate of the order replaced (RFC 9773
// section 5). Both orders must have the same account and share an identifier. cert-manager orders again without "replaces" only
// after alreadyReplaced, or a malformed problem whose detail has that word.
func Replaces(replaced *v1alpha1.AcmeOrder, account string, identifiers []acme.Identifier) *acme.Problem {
	shared := func(id v1alpha1.Identifier) bool { return slices.Contains(identifiers, id.ACME()) }
	switch {
	case replaced.Spec.AccountRef.Name != account:
		return acme.NewProblem(acme.Malformed, "\"replaces\" names a certificate of another account")
	case !slices.ContainsFunc(replaced.Spec.Identifiers, shared):
		return acme.NewProblem(acme.Malformed, "\"replaces\" names a certificate that shares no identifier with this order")
	}
	return nil
}
