package ordercache

import (
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// Selectors are field selectors that together select the orders that a cache holds. No order matches two of them.
func Selectors() []string {
	return []string{
		"status.state!=valid,status.state!=invalid",
		"status.state=valid,spec.revocation.reason!=", // reason has a default, so each requested revocation has one
	}
}

// Holds reports whether a cache holds an order: unfinished orders, certificates whose revocation was requested, and orders that are being
// deleted. The last ones have a finalizer, and are not selected: those that were deleted before a start are left to retention.
func Holds(order *v1alpha1.AcmeOrder) bool {
	return !order.Finished() || order.DeletionTimestamp != nil || order.Status.State == acme.StateValid && order.Spec.Revocation != nil
}
