package acmeserver

import (
	"net/http"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// limitPending keeps an account from filling the store with what it doesn't finish. All authorizations that are an order's own
// count until the order is finished, stored or not. The status is 503 and not 429, since
// clients give an order up at 429, and here it is enough that they wait for their others; docs/decisions/0130 has more.
func (s *Server) limitPending(r *signed, orders, authorizations int) error {
	rules := r.issuer.spec.Account
	refused := func(have int, kind string) error {
		problem := acme.NewProblem(acme.RateLimited, "the account has %d pending %s, and may not have more; finish or deactivate some first", have, kind)
		return &limitedProblem{problem.WithStatus(http.StatusServiceUnavailable), retryAfterOverload}
	}
	unfinished, err := s.orders.List(r.Context(), pendingOrdersByAccount, r.issuer.key.Namespace, r.account.Name)
	if err != nil {
		return err
	}
	if len(unfinished)+orders > rules.MaxPendingOrders && orders > 0 {
		return refused(len(unfinished), "orders")
	}
	stored, err := s.authorizations.List(r.Context(), pendingAuthorizationsByAccount, r.issuer.key.Namespace, r.account.Name)
	if err != nil {
		return err
	}
	if have := awaitedOrPending(unfinished, stored); have+authorizations > rules.MaxPendingAuthorizations {
		return refused(have, "authorizations")
	}
	return nil
}

// awaitedOrPending counts the authorizations that unfinished orders call their own, and of those that are stored and pending
// the others.
func awaitedOrPending(unfinished []*v1alpha1.AcmeOrder, stored []*v1alpha1.AcmeAuthorization) (count int) {
	counted := map[string]bool{}
	for _, order := range unfinished {
		counted[order.Name] = true
		for i := range order.Spec.Authorizations {
			if order.IsOwnAuthorization(i) {
				count++
			}
		}
	}
	for _, authz := range stored {
		if order, _, own := v1alpha1.OwnerOfAuthorization(authz.Name); !own || !counted[order] {
			count++
		}
	}
	return count
}
