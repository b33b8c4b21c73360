package store

import (
	"context"
	"maps"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// RenewalAnnotation marks an order that the ACME server exempted from rateLimits.newOrders when it created the order.
const RenewalAnnotation = "acmeca.dev/renewal"

// maxCounted bounds the orders that are counted, and their accounts, together.
const maxCounted = 100_000

// creationTimes holds when objects were created, in seconds since 1970, by name.
type creationTimes map[string]int64

func (c creationTimes) since(at int64) (made []time.Time) {
	for _, created := range c {
		if created >= at {
			made = append(made, time.Unix(created, 0))
		}
	}
	return made
}

// orderCounts holds the orders that rateLimits.newOrders counts, of the accounts that it was asked for. The cache does not hold finished
// orders, so the orders of an account are listed once. Events then keep the account up to date.
type orderCounts struct {
	mu        sync.Mutex
	byAccount map[types.NamespacedName]*countedAccount
	size      int // of byAccount: its accounts and their orders
}

type countedAccount struct {
	creationTimes
	// since is the time since which the orders are counted, and listed is FinishedOrders.listed of then.
	since  int64
	listed uint64
}

func newOrderCounts() orderCounts {
	return orderCounts{byAccount: map[types.NamespacedName]*countedAccount{}}
}

// isExempt reports whether rateLimits.newOrders does not count an order. A renewal that failed is not exempt.
func isExempt(order client.Object, invalid bool) bool {
	return order.GetAnnotations()[RenewalAnnotation] != "" && !invalid
}

func accountOf(order *v1alpha1.AcmeOrder) types.NamespacedName {
	return types.NamespacedName{Namespace: order.Namespace, Name: order.Spec.AccountRef.Name}
}

// note counts an order. States may arrive out of order: an invalid order stays invalid.
func (c *orderCounts) note(order *v1alpha1.AcmeOrder) {
	if isExempt(order, order.Status.State == acme.StateInvalid) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if counted := c.byAccount[accountOf(order)]; counted != nil {
		c.change(accountOf(order), counted, func() { counted.creationTimes[order.Name] = order.CreationTimestamp.Unix() })
		c.makeRoom(types.NamespacedName{})
	}
}

func (c *orderCounts) drop(order *v1alpha1.AcmeOrder) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if counted := c.byAccount[accountOf(order)]; counted != nil {
		c.change(accountOf(order), counted, func() { delete(counted.creationTimes, order.Name) })
	}
}

// change changes the orders of an account. c.mu is held.
func (c *orderCounts) change(account types.NamespacedName, counted *countedAccount, change func()) {
	before := len(counted.creationTimes)
	change()
	if c.byAccount[account] == counted { // it may be forgotten
		c.size += len(counted.creationTimes) - before
	}
}

// makeRoom forgets accounts other than one beyond maxCounted. c.mu is held.
func (c *orderCounts) makeRoom(account types.NamespacedName) {
	for other := range c.byAccount {
		if c.size <= maxCounted {
			return
		}
		if other != account {
			c.remove(other)
		}
	}
}

// remove forgets an account. c.mu is held.
func (c *orderCounts) remove(account types.NamespacedName) {
	if counted := c.byAccount[account]; counted != nil {
		c.size -= 1 + len(counted.creationTimes)
		delete(c.byAccount, account)
	}
}

// times returns when the counted orders of an account were made since a time, and forgets older ones. ok is false if they are not known.
func (c *orderCounts) times(account types.NamespacedName, since int64, listed uint64) (made []time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	counted := c.byAccount[account]
	if counted == nil || counted.listed != listed || since < counted.since {
		return nil, false
	}
	counted.since = since
	c.change(account, counted, func() {
		maps.DeleteFunc(counted.creationTimes, func(_ string, created int64) bool { return created < since })
	})
	return counted.creationTimes.since(since), true
}

// begin notes the orders of an account from now on.
func (c *orderCounts) begin(account types.NamespacedName, since int64, listed uint64) *countedAccount {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(account)
	counted := &countedAccount{creationTimes{}, since, listed}
	c.byAccount[account] = counted
	c.size++
	return counted
}

// complete adds listed orders, and forgets other accounts beyond the bound. It returns when the orders were made.
func (c *orderCounts) complete(account types.NamespacedName, counted *countedAccount, listed creationTimes) []time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.change(account, counted, func() { maps.Copy(counted.creationTimes, listed) })
	c.makeRoom(account)
	return counted.creationTimes.since(counted.since)
}

// forget forgets an account whose orders can't be listed.
func (c *orderCounts) forget(account types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(account)
}

// OrderTimes returns when the account made its orders and its authorizations without an order since a time, the exempt ones
// left out. Calls for one account must not be concurrent. The errors are ErrBusy and ErrUnavailable.
func (s *Store) OrderTimes(ctx context.Context, account *v1alpha1.AcmeAccount, since time.Time) ([]time.Time, error) {
	s.Orders.upToDate(ctx) // best effort: a stale count is better than none
	s.Authorizations.upToDate(ctx)
	made, err := s.ordersSince(ctx, account, since.Unix())
	if err != nil {
		return nil, err
	}
	return append(made, s.preAuthorizations.since(client.ObjectKeyFromObject(account), since.Unix())...), nil
}

func (s *Store) ordersSince(ctx context.Context, account *v1alpha1.AcmeAccount, since int64) ([]time.Time, error) {
	name, mark := client.ObjectKeyFromObject(account), s.finished.listed()
	if made, ok := s.counts.times(name, since, mark); ok {
		return made, nil
	}
	counted := s.counts.begin(name, since, mark)
	listed := creationTimes{}
	for _, invalid := range []bool{true, false} {
		if err := s.listSince(ctx, account, invalid, since, listed); err != nil {
			s.counts.forget(name)
			return nil, err
		}
	}
	return s.counts.complete(name, counted, listed), nil
}

// listSince adds the counted orders of an account that are invalid, or those that are not.
func (s *Store) listSince(
	ctx context.Context, account *v1alpha1.AcmeAccount, invalid bool, since int64, into creationTimes,
) error {
	for after := ""; ; {
		done, err := s.startSearch(ctx, account.Namespace)
		if err != nil {
			return err
		}
		found, err := s.searchOrders(ctx, account, invalid, after, searchPage)
		done()
		if err != nil {
			return err
		}
		for i := range found.Items {
			order := &found.Items[i]
			if created := order.CreationTimestamp.Unix(); created >= since && !isExempt(order, invalid) {
				into[order.Name] = created
			}
		}
		if after = found.Continue; after == "" {
			return nil
		}
	}
}

// preAuthorizations holds when each account made its authorizations without an order. The cache holds all of them.
type preAuthorizations struct {
	mu        sync.Mutex
	byAccount map[types.NamespacedName]creationTimes
}

func newPreAuthorizations() preAuthorizations {
	return preAuthorizations{byAccount: map[types.NamespacedName]creationTimes{}}
}

func (p *preAuthorizations) note(authz *v1alpha1.AcmeAuthorization) {
	p.mu.Lock()
	defer p.mu.Unlock()
	account := ownerOf(authz)
	if p.byAccount[account] == nil {
		p.byAccount[account] = creationTimes{}
	}
	p.byAccount[account][authz.Name] = authz.CreationTimestamp.Unix()
}

func (p *preAuthorizations) drop(authz *v1alpha1.AcmeAuthorization) {
	p.mu.Lock()
	defer p.mu.Unlock()
	account := ownerOf(authz)
	if delete(p.byAccount[account], authz.Name); len(p.byAccount[account]) == 0 {
		delete(p.byAccount, account)
	}
}

func (p *preAuthorizations) since(account types.NamespacedName, at int64) []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.byAccount[account].since(at)
}
