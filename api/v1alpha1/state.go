package v1alpha1

import (
	"slices"

	"github.com/acmeca/acmeca/api/acme"
)

// Pending reports whether the controllers have not verified the registration or key claim yet. A new account has no state
// until the API server sets the default.
func (a *AcmeAccount) Pending() bool { return isPending(a.Status.State) }

// Finished reports whether the account can never be used again: it is invalid, deactivated or revoked.
func (a *AcmeAccount) Finished() bool { return a.Status.State.Final() }

// Pending reports whether control of the identifier is still to be proved.
func (a *AcmeAuthorization) Pending() bool { return isPending(a.Status.State) }

// Finished reports whether the authorization can never be used again: it is invalid, deactivated, expired or revoked.
func (a *AcmeAuthorization) Finished() bool { return a.Status.State.Final() }

// Finished reports whether the order is valid or invalid. The state of a finished order never changes.
func (o *AcmeOrder) Finished() bool {
	return o.Status.State == acme.StateValid || o.Status.State == acme.StateInvalid
}

// Finalized reports whether the client has sent its CSR.
func (o *AcmeOrder) Finalized() bool { return o.Spec.Finalization != nil }

// RevocationPending reports whether a revocation was requested and is not decided yet.
func (o *AcmeOrder) RevocationPending() bool {
	asked, handled := o.Spec.Revocation, o.Status.Revocation
	return asked != nil && o.Status.RevokedAt == nil && (handled == nil || handled.Digest != asked.Digest())
}

// OwesRevocation reports whether a CRL has to list the order's certificate: it is revoked, or to be revoked.
func (o *AcmeOrder) OwesRevocation() bool {
	return o.Status.State == acme.StateValid && (o.Status.RevokedAt != nil || o.RevocationPending())
}

// KeptForNothing reports whether a finished order has RevocationFinalizer although no CRL has to list its certificate: the
// revocation was refused, or an earlier version created the order.
func (o *AcmeOrder) KeptForNothing() bool {
	return o.Finished() && !o.OwesRevocation() && slices.Contains(o.Finalizers, RevocationFinalizer)
}

// isPending treats the empty state as pending: status.state is defaulted, but an object that was never stored has none.
func isPending(s acme.State) bool { return s == acme.StatePending || s == "" }
