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

// Holds reports whether a cache holds an order: unfinished orders, and certificates whose revocation was requested.
func Holds(order *v1alpha1.AcmeOrder) bool {
	return !order.Finished() || order.Status.State == acme.StateValid && order.Spec.Revocation != nil
}
