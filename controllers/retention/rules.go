package retention

import (
	"time"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

const (
	// longestOrders bounds the default of spec.retention.orders, and is the time for failed orders.
	longestOrders = 720 * time.Hour
	// keptAuthorizations and keptAccounts apply to objects of a deleted issuer. They are the defaults of spec.retention.
	keptAuthorizations = 24 * time.Hour
	keptAccounts       = 8760 * time.Hour
)

// rules say how long the objects of an issuer are kept. The zero rules are those of a deleted issuer.
type rules struct {
	kept      v1alpha1.Retention
	lifetimes v1alpha1.Lifetimes
	limits    v1alpha1.RateLimits
}

func rulesOf(issuer *v1alpha1.AcmeIssuerSpec) rules {
	return rules{kept: issuer.Retention, lifetimes: issuer.Lifetimes, limits: issuer.RateLimits}
}

// order returns the time at which an order may be removed: some time after its certificate expired, or after the order failed. ok is
// false for an order that has not ended.
func (r rules) order(order *v1alpha1.AcmeOrder) (removal time.Time, ok bool) {
	kept, status := r.kept.Orders.Duration, &order.Status
	switch status.State {
	case acme.StateValid:
		if status.NotAfter == nil {
			return time.Time{}, false
		}
		if kept <= 0 {
			kept = longestOrders
			if status.NotBefore != nil {
				kept = max(min(kept, status.NotAfter.Sub(status.NotBefore.Time)), counted(r.limits.NewOrders))
			}
		}
		return status.NotAfter.Add(kept), true
	case acme.StateInvalid:
		if kept <= 0 {
			kept = longestOrders
		}
		for _, c := range status.Conditions {
			if c.Type == v1alpha1.ConditionReady {
				return c.LastTransitionTime.Add(kept), true
			}
		}
	}
	return time.Time{}, false
}

// authorization returns the time at which an authorization may be removed, if no unfinished order names it: some time after it ended, or
// after the proof if only its own order could use it. ok is false for one that has no end yet.
func (r rules) authorization(authz *v1alpha1.AcmeAuthorization) (removal time.Time, ok bool) {
	status, kept := &authz.Status, r.kept.Authorizations.Duration
	if kept <= 0 {
		kept = keptAuthorizations
	}
	if status.Expires == nil {
		return time.Time{}, false
	}
	end := status.Expires.Time
	_, _, own := v1alpha1.OwnerOfAuthorization(authz.Name)
	switch {
	case !own || authz.Spec.PreAuthorization:
	case status.State == acme.StateValid || status.State == acme.StateExpired:
		if proof := status.Challenge; !r.lifetimes.ReuseAuthorizations && proof != nil && proof.ValidatedAt != nil {
			end = proof.ValidatedAt.Time
		}
	default:
		// Until then, the ACME server would show an authorization that is not stored as pending again.
		if pending := authz.CreationTimestamp.Add(r.lifetimes.PendingAuthorization.Duration); end.Before(pending) {
			end = pending
		}
	}
	return end.Add(max(kept, counted(r.limits.FailedValidations), counted(r.limits.NewOrders))), true
}

// accounts returns how long an unused account is kept.
func (r rules) accounts() time.Duration {
	if r.kept.Accounts.Duration <= 0 {
		return keptAccounts
	}
	return r.kept.Accounts.Duration
}

// counted returns how long a rate limit counts an object.
func counted(limit *v1alpha1.RateLimit) time.Duration {
	if limit == nil {
		return 0
	}
	return limit.Period.Duration
}
