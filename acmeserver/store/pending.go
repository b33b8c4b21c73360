package store

import (
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// maxLists bounds the lists of objects in use. A list copies its objects, and a client can have thousands of them.
const maxLists = 16

// listQueue is how long a request waits to list objects.
const listQueue = 2 * time.Second

// StartList waits until a request may list objects. The request calls done after it has used them. The error is ErrBusy.
func (s *Store) StartList(ctx context.Context) (done func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, listQueue)
	defer cancel()
	select {
	case s.listing <- struct{}{}:
		return func() { <-s.listing }, nil
	case <-ctx.Done():
		return nil, &Error{Kind: "list", Reason: ErrBusy}
	}
}

// Pending is the number of unfinished objects of an account.
type Pending struct {
	Orders int
	// Authorizations are the own ones of unfinished orders, stored or not, and the other stored ones that are pending.
	Authorizations int
}

// pendingIndex holds the names of each account's unfinished orders and pending authorizations, so that a count copies no objects.
type pendingIndex struct {
	mu        sync.Mutex
	byAccount map[types.NamespacedName]*pendingNames
}

type pendingNames struct {
	orders         map[string]int // the number of own authorizations
	authorizations map[string]struct{}
}

func newPendingIndex() pendingIndex {
	return pendingIndex{byAccount: map[types.NamespacedName]*pendingNames{}}
}

// change changes the names of an account.
func (p *pendingIndex) change(account types.NamespacedName, change func(*pendingNames)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	names := p.byAccount[account]
	if names == nil {
		names = &pendingNames{orders: map[string]int{}, authorizations: map[string]struct{}{}}
		p.byAccount[account] = names
	}
	change(names)
	if len(names.orders)+len(names.authorizations) == 0 {
		delete(p.byAccount, account)
	}
}

// count counts the unfinished objects of an account. Orders with the excepted names count as finished.
func (p *pendingIndex) count(account types.NamespacedName, except []string) Pending {
	p.mu.Lock()
	defer p.mu.Unlock()
	names := p.byAccount[account]
	if names == nil {
		return Pending{}
	}
	var pending Pending
	for order, own := range names.orders {
		if !slices.Contains(except, order) {
			pending.Orders++
			pending.Authorizations += own
		}
	}
	for authz := range names.authorizations {
		order, _, own := v1alpha1.OwnerOfAuthorization(authz)
		if _, counted := names.orders[order]; !own || !counted || slices.Contains(except, order) {
			pending.Authorizations++
		}
	}
	return pending
}

// CountPending counts the unfinished objects of an account. Orders with the excepted names count as finished.
func (s *Store) CountPending(ctx context.Context, account *v1alpha1.AcmeAccount, except ...string) Pending {
	s.Orders.upToDate(ctx) // best effort: a stale count is better than none
	s.Authorizations.upToDate(ctx)
	return s.pending.count(nameOf(account), except)
}

func (s *Store) noteOrder(order *v1alpha1.AcmeOrder) {
	s.lists.put(order)
	s.pending.change(accountOf(order), func(names *pendingNames) {
		if order.Finished() {
			delete(names.orders, order.Name)
			return
		}
		own := 0
		for i := range order.Spec.Authorizations {
			if order.IsOwnAuthorization(i) {
				own++
			}
		}
		names.orders[order.Name] = own
	})
}

func (s *Store) dropOrder(order *v1alpha1.AcmeOrder) {
	s.lists.remove(order)
	s.pending.change(accountOf(order), func(names *pendingNames) { delete(names.orders, order.Name) })
}

func ownerOf(authz *v1alpha1.AcmeAuthorization) types.NamespacedName {
	return types.NamespacedName{Namespace: authz.Namespace, Name: authz.Spec.AccountRef.Name}
}

func (s *Store) noteAuthorization(authz *v1alpha1.AcmeAuthorization) {
	if authz.Spec.PreAuthorization {
		s.preAuthorizations.insert(ownerOf(authz), listedOrder{OrderPlace: OrderPlace{authz.CreationTimestamp.Unix(), authz.Name}})
	}
	s.pending.change(ownerOf(authz), func(names *pendingNames) {
		if authz.Pending() {
			names.authorizations[authz.Name] = struct{}{}
		} else {
			delete(names.authorizations, authz.Name)
		}
	})
}

func (s *Store) dropAuthorization(authz *v1alpha1.AcmeAuthorization) {
	s.preAuthorizations.drop(ownerOf(authz), OrderPlace{authz.CreationTimestamp.Unix(), authz.Name})
	s.pending.change(ownerOf(authz), func(names *pendingNames) { delete(names.authorizations, authz.Name) })
}
