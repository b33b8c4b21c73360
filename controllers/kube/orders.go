package kube

import (
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// Unfinished reports whether an order is neither valid nor invalid yet.
func Unfinished(order *v1alpha1.AcmeOrder) bool {
	return order.Status.State != acme.StateValid && order.Status.State != acme.StateInvalid
}

// RevocationPending reports whether a revocation was requested and is not decided yet.
func RevocationPending(order *v1alpha1.AcmeOrder) bool {
	asked, handled := order.Spec.Revocation, order.Status.Revocation
	return asked != nil && order.Status.RevokedAt == nil && (handled == nil || handled.Digest != asked.Digest())
}
