package store

import (
	"context"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// Pending is the number of unfinished objects of an account.
type Pending struct {
	Orders int
	// Authorizations are the own ones of unfinished orders, stored or not, and the other stored ones that are pending.
	Authorizations int
	// Bytes is about the memory that they use in a cache. The controllers' cache has the same objects.
	Bytes int64
}

// pendingIndex holds the names of each account's unfinished orders and pending authorizations, so that a count copies no objects.
type pendingIndex struct {
	mu        sync.Mutex
	byAccount map[types.NamespacedName]*pendingNames
	bytes     int64 // of all accounts
}

type pendingNames struct {
	orders         map[string]pendingOrder
	authorizations map[string]int64 // bytes
	bytes          int64
}

type pendingOrder struct {
	own   int // authorizations
	bytes int64
}

// setOrder notes an unfinished order, and dropOrder that there is none.
func (n *pendingNames) setOrder(name string, order pendingOrder) {
	n.bytes += order.bytes - n.orders[name].bytes
	n.orders[name] = order
}

func (n *pendingNames) dropOrder(name string) {
	n.bytes -= n.orders[name].bytes
	delete(n.orders, name)
}

// setAuthorization notes the bytes of a pending authorization, and dropAuthorization that there is none.
func (n *pendingNames) setAuthorization(name string, bytes int64) {
	n.bytes += bytes - n.authorizations[name]
	n.authorizations[name] = bytes
}

func (n *pendingNames) dropAuthorization(name string) {
	n.bytes -= n.authorizations[name]
	delete(n.authorizations, name)
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
		names = &pendingNames{orders: map[string]pendingOrder{}, authorizations: map[string]int64{}}
		p.byAccount[account] = names
	}
	before := names.bytes
	change(names)
	p.bytes += names.bytes - before
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
	pending := Pending{Bytes: names.bytes}
	for name, order := range names.orders {
		if !slices.Contains(except, name) {
			pending.Orders++
			pending.Authorizations += order.own
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
	return s.pending.count(client.ObjectKeyFromObject(account), except)
}

func (s *Store) noteOrder(order *v1alpha1.AcmeOrder) {
	s.counts.note(order)
	s.pending.change(accountOf(order), func(names *pendingNames) {
		if order.Finished() {
			names.dropOrder(order.Name)
			return
		}
		names.setOrder(order.Name, pendingOrder{order.Proofs(), bytesOfOrder(order)})
	})
}

func (s *Store) dropOrder(order *v1alpha1.AcmeOrder) {
	s.counts.drop(order)
	s.pending.change(accountOf(order), func(names *pendingNames) { names.dropOrder(order.Name) })
}

func ownerOf(authz *v1alpha1.AcmeAuthorization) types.NamespacedName {
	return types.NamespacedName{Namespace: authz.Namespace, Name: authz.Spec.AccountRef.Name}
}

func (s *Store) noteAuthorization(authz *v1alpha1.AcmeAuthorization) {
	if authz.Spec.PreAuthorization {
		s.preAuthorizations.note(authz)
	}
	s.pending.change(ownerOf(authz), func(names *pendingNames) {
		if authz.Pending() {
			names.setAuthorization(authz.Name, bytesOfAuthorization(authz))
		} else {
			names.dropAuthorization(authz.Name)
		}
	})
}

func (s *Store) dropAuthorization(authz *v1alpha1.AcmeAuthorization) {
	s.preAuthorizations.drop(authz)
	s.pending.change(ownerOf(authz), func(names *pendingNames) { names.dropAuthorization(authz.Name) })
}

// PendingBytes returns about the memory that all unfinished orders and pending authorizations use in a cache.
func (s *Store) PendingBytes() int64 {
	s.pending.mu.Lock()
	defer s.pending.mu.Unlock()
	return s.pending.bytes
}

// The memory of an object in a cache, without the parts that clients choose.
const (
	orderBytes         = 2 << 10
	nameBytes          = 256 // of an identifier and its authorization
	authorizationBytes = 3 << 10
)

func bytesOfOrder(order *v1alpha1.AcmeOrder) int64 {
	size := orderBytes + nameBytes*len(order.Spec.Identifiers)
	if order.Spec.Finalization != nil {
		size += bytesOfRequest(&order.Spec.Finalization.Request)
	}
	return int64(size)
}

func bytesOfAuthorization(authz *v1alpha1.AcmeAuthorization) int64 {
	size := authorizationBytes
	if authz.Spec.Response != nil {
		size += bytesOfRequest(&authz.Spec.Response.Request)
	}
	return int64(size)
}

func bytesOfRequest(request *v1alpha1.SignedRequest) int {
	return len(request.Protected) + len(request.Payload) + len(request.Signature)
}
