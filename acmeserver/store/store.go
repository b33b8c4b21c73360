package store

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/ordercache"
)

// Store holds the objects that clients are shown.
type Store struct {
	Accounts       *Objects[*v1alpha1.AcmeAccount]
	Orders         *Objects[*v1alpha1.AcmeOrder]
	Authorizations *Objects[*v1alpha1.AcmeAuthorization]

	finished          *FinishedOrders
	counts            orderCounts
	preAuthorizations preAuthorizations
	pending           pendingIndex
	listing           chan struct{} // holds an element for each list in use
	// searches, pages, lookups and oldLookups hold an element for each list of orders past the cache, for each such list that a client
	// pages through, for each read of an order by the serial number of its certificate, and for each list by a serial number that does not
	// lead to an order.
	searches, pages, lookups, oldLookups chan struct{}
	searching                            sync.Map           // searches by namespace: a chan struct{}
	inFlight                             singleflight.Group // lookups
	oldSerials                           *rate.Limiter      // paces the lists of oldLookups
	foreign                              foreignPositions
}

// New returns a Store that reads through the cache, and writes with the live client. finished follows the informer of the cache's orders.
// namespaces are those of the cache; none for all.
func New(
	ctx context.Context, c cache.Cache, live client.Client, finished *FinishedOrders, namespaces []string,
) (*Store, error) {
	if err := addIndexes(ctx, c); err != nil {
		return nil, err
	}
	s := &Store{
		finished: finished, counts: newOrderCounts(), preAuthorizations: newPreAuthorizations(), pending: newPendingIndex(),
		listing: make(chan struct{}, maxLists), searches: make(chan struct{}, maxSearches), pages: make(chan struct{}, maxPages),
		lookups: make(chan struct{}, maxLookups), oldLookups: make(chan struct{}, 1),
		oldSerials: rate.NewLimiter(oldSerialRate, oldSerialBurst),
		Accounts: newObjects(c, live, accounts,
			func() *v1alpha1.AcmeAccount { return &v1alpha1.AcmeAccount{} },
			func() client.ObjectList { return &v1alpha1.AcmeAccountList{} }),
		Orders: newObjects(c, live, orders,
			func() *v1alpha1.AcmeOrder { return &v1alpha1.AcmeOrder{} },
			func() client.ObjectList { return &v1alpha1.AcmeOrderList{} }),
		Authorizations: newObjects(c, live, authorizations,
			func() *v1alpha1.AcmeAuthorization { return &v1alpha1.AcmeAuthorization{} },
			func() client.ObjectList { return &v1alpha1.AcmeAuthorizationList{} }),
	}
	s.Orders.noted, s.Orders.dropped = s.noteOrder, s.dropOrder
	s.Orders.holds, s.Orders.uncached = ordercache.Holds, finished.get
	s.Orders.otherReads = []chan struct{}{s.searches, s.pages, s.lookups, s.oldLookups}
	s.Authorizations.noted, s.Authorizations.dropped = s.noteAuthorization, s.dropAuthorization
	if err := s.Accounts.watch(ctx, c); err != nil {
		return nil, err
	}
	if err := s.Orders.watch(ctx, c); err != nil {
		return nil, err
	}
	go s.settleMissing(ctx)
	go s.walkReplacements(ctx, namespaces)
	return s, s.Authorizations.watch(ctx, c)
}

// settleInterval is how often the store looks for orders that no event will tell of.
const settleInterval = 10 * time.Second

func (s *Store) settleMissing(ctx context.Context) {
	ticker := time.NewTicker(settleInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.Accounts.settleMissing(ctx)
			s.Orders.settleMissing(ctx)
			s.Authorizations.settleMissing(ctx)
		}
	}
}

// kind is a kind of object that clients are shown; it is also its place in Positions.
type kind int

const (
	accounts kind = iota
	orders
	authorizations
	kinds // the number of kinds
)

// String returns the kind in words that clients may see.
func (k kind) String() string { return [kinds]string{"account", "order", "authorization"}[k] }
