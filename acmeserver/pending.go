package acmeserver

import (
	"net/http"

	"github.com/acmeca/acmeca/api/acme"
)

// limitPending keeps an account from filling the store with what it doesn't finish. The status is 503 and not 429, since
// clients give an order up at 429, and here it is enough that they wait for their others; docs/decisions/0130 has more.
func (s *Server) limitPending(r *signed, orders, authorizations int) error {
	rules := r.issuer.spec.Account
	refused := func(have int, kind string) error {
		problem := acme.NewProblem(acme.RateLimited, "the account has %d pending %s, and may not have more; finish or deactivate some first", have, kind)
		return &limitedProblem{problem.WithStatus(http.StatusServiceUnavailable), retryAfterOverload}
	}
	if orders > 0 {
		pending, err := s.orders.List(r.Context(), pendingOrdersByAccount, r.issuer.key.Namespace, r.account.Name)
		if err != nil {
			return err
		}
		if len(pending)+orders > rules.MaxPendingOrders {
			return refused(len(pending), "orders")
		}
	}
	pending, err := s.authorizations.List(r.Context(), pendingAuthorizationsByAccount, r.issuer.key.Namespace, r.account.Name)
	if err != nil {
		return err
	}
	if len(pending)+authorizations > rules.MaxPendingAuthorizations {
		return refused(len(pending), "authorizations")
	}
	return nil
}
