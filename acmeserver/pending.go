package acmeserver

import (
	"net/http"

	"github.com/acmeca/acmeca/acmeserver/answer"
	"github.com/acmeca/acmeca/acmeserver/store"
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// limitPending bounds the unfinished orders and authorizations that an account can store. orders and authorizations are the
// numbers to be added. All own authorizations of an unfinished order count, stored or virtual. The status is 503 and not
// 429: clients give an order up after 429, but here they only need to wait for their other orders (docs/decisions/0130).
func (s *Server) limitPending(r *request, orders, authorizations int) error {
	have := s.store.CountPending(r.Context(), r.account)
	if err := s.checkPendingBytes(have, s.maxPendingBytes); err != nil {
		return err
	}
	rules := r.issuer.Spec.Account
	if checkPending(rules, have, orders, authorizations) == nil {
		return nil
	}
	// Orders that are invalid for their client do not count, even before the controllers write so.
	done, err := s.store.StartList(r.Context())
	if err != nil {
		return err
	}
	defer done()
	unfinished, err := s.store.PendingOrders(r.Context(), r.account)
	if err != nil {
		return err
	}
	var invalid []string
	for _, order := range unfinished {
		if s.isInvalid(r.Context(), order) {
			invalid = append(invalid, order.Name)
		}
	}
	return checkPending(rules, s.store.CountPending(r.Context(), r.account, invalid...), orders, authorizations)
}

// checkPending returns the error for orders and authorizations that would exceed the rules.
func checkPending(rules v1alpha1.AccountRules, have store.Pending, orders, authorizations int) error {
	refused := func(have int, kind string) error {
		problem := acme.NewProblem(acme.RateLimited,
			"the account has %d pending %s, and may not have more; finish or deactivate some first", have, kind)
		return &answer.LimitedProblem{Problem: problem.WithStatus(http.StatusServiceUnavailable), RetryAfter: answer.RetryUnavailable}
	}
	if have.Orders+orders > rules.MaxPendingOrders && orders > 0 {
		return refused(have.Orders, "orders")
	}
	if have.Authorizations+authorizations > rules.MaxPendingAuthorizations {
		return refused(have.Authorizations, "authorizations")
	}
	return nil
}

// DefaultMaxPendingBytes returns the default of Options.MaxPendingBytes: a quarter of the memory limit of Go's runtime. It is
// 256 MiB without a limit. The controllers hold the same objects, within a limit of the same size.
func DefaultMaxPendingBytes() int64 { return memoryShare(4, 16<<20, 256<<20) }

// limitPendingRequest refuses to store a request for an unfinished object beyond half as much again. Until then, clients can
// finish the orders that they have.
func (s *Server) limitPendingRequest(r *request) error {
	return s.checkPendingBytes(s.store.CountPending(r.Context(), r.account), s.maxPendingBytes+s.maxPendingBytes/2)
}

// checkPendingBytes returns the error for more unfinished objects than both halves have memory for. An account may use a quarter.
func (s *Server) checkPendingBytes(have store.Pending, most int64) error {
	if s.store.PendingBytes() >= most || have.Bytes >= most/4 {
		return answer.Overloaded()
	}
	return nil
}
