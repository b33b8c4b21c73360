package store

import (
	"cmp"
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/third_party/forked/golang/btree"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// RenewalAnnotation marks an order that the ACME server exempted from rateLimits.newOrders when it created the order.
const RenewalAnnotation = "acmeca.dev/renewal"

// OrderPlace is the place of an order in the list of its account's orders: newest first.
type OrderPlace struct {
	// Created is the time of creation in seconds since 1970.
	Created int64
	Name    string
}

// Compare sorts newer orders first.
func (p OrderPlace) Compare(q OrderPlace) int {
	return cmp.Or(cmp.Compare(q.Created, p.Created), cmp.Compare(p.Name, q.Name))
}

// PlaceOf returns the place of an order.
func PlaceOf(order *v1alpha1.AcmeOrder) OrderPlace {
	return OrderPlace{order.CreationTimestamp.Unix(), order.Name}
}

// listedOrder is an order, or an authorization without an order, as lists and rate limits need it.
type listedOrder struct {
	OrderPlace
	issuer           string
	invalid, renewal bool
}

// orderLists holds the orders of each account in their order, so that a page or a count copies no orders.
type orderLists struct {
	mu        sync.RWMutex
	byAccount map[types.NamespacedName]*btree.BTree[listedOrder]
}

// btreeDegree suits accounts with few orders and accounts with many.
const btreeDegree = 16

func accountOf(order *v1alpha1.AcmeOrder) types.NamespacedName {
	return types.NamespacedName{Namespace: order.Namespace, Name: order.Spec.AccountRef.Name}
}

func newOrderLists() orderLists {
	return orderLists{byAccount: map[types.NamespacedName]*btree.BTree[listedOrder]{}}
}

// put adds or updates an order. States may arrive out of order: an invalid order stays invalid.
func (l *orderLists) put(order *v1alpha1.AcmeOrder) {
	l.insert(accountOf(order), listedOrder{
		OrderPlace: PlaceOf(order), issuer: order.Spec.IssuerRef.Name,
		invalid: order.Status.State == acme.StateInvalid, renewal: order.Annotations[RenewalAnnotation] != "",
	})
}

func (l *orderLists) insert(account types.NamespacedName, entry listedOrder) {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.byAccount[account]
	if list == nil {
		list = btree.New(btreeDegree, func(a, b listedOrder) bool { return a.Compare(b.OrderPlace) < 0 })
		l.byAccount[account] = list
	}
	before, _ := list.Get(entry)
	entry.invalid = entry.invalid || before.invalid
	list.ReplaceOrInsert(entry)
}

func (l *orderLists) remove(order *v1alpha1.AcmeOrder) { l.drop(accountOf(order), PlaceOf(order)) }

func (l *orderLists) drop(account types.NamespacedName, at OrderPlace) {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.byAccount[account]
	if list == nil {
		return
	}
	list.Delete(listedOrder{OrderPlace: at})
	if list.Len() == 0 {
		delete(l.byAccount, account)
	}
}

// walk calls visit for the account's orders after a place, the newest first, until visit returns false. The zero place is
// before all orders.
func (l *orderLists) walk(account types.NamespacedName, after OrderPlace, visit func(listedOrder) bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	list := l.byAccount[account]
	switch {
	case list == nil:
	case after == OrderPlace{}:
		list.Ascend(visit)
	default:
		list.AscendGreaterOrEqual(listedOrder{OrderPlace: after}, func(o listedOrder) bool { return o.OrderPlace == after || visit(o) })
	}
}

// OrdersAfter returns the places of at most count orders of an account at an issuer that follow a place, without the invalid
// ones.
func (s *Store) OrdersAfter(ctx context.Context, account *v1alpha1.AcmeAccount, after OrderPlace, count int) []OrderPlace {
	s.Orders.upToDate(ctx) // best effort: a stale list is better than none
	var found []OrderPlace
	s.lists.walk(nameOf(account), after, func(o listedOrder) bool {
		if !o.invalid && o.issuer == account.Spec.IssuerRef.Name {
			found = append(found, o.OrderPlace)
		}
		return len(found) < count
	})
	return found
}

// OrderTimes returns when the account made its orders and its authorizations without an order since a time, the exempt ones
// left out. A renewal that failed is not exempt.
func (s *Store) OrderTimes(ctx context.Context, account *v1alpha1.AcmeAccount, since time.Time) []time.Time {
	s.Orders.upToDate(ctx) // best effort: a stale count is better than none
	s.Authorizations.upToDate(ctx)
	var made []time.Time
	for _, list := range []*orderLists{&s.lists, &s.preAuthorizations} {
		list.walk(nameOf(account), OrderPlace{}, func(o listedOrder) bool {
			if !o.renewal || o.invalid {
				made = append(made, time.Unix(o.Created, 0))
			}
			return o.Created >= since.Unix()
		})
	}
	return made
}

func nameOf(account *v1alpha1.AcmeAccount) types.NamespacedName {
	return types.NamespacedName{Namespace: account.Namespace, Name: account.Name}
}
