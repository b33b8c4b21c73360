package store

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/lru"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/ordercache"
)

const (
	// maxRecent bounds the orders that are kept. Most take about 3 KiB.
	maxRecent = 2048
	// maxRecentBytes bounds the sum of their sizes in JSON: an order of many names takes 50 KiB.
	maxRecentBytes = 8 << 20
)

// RecentOrders keeps the orders that were finished last, whose certificates clients are about to download. The cache of orders does not
// hold them. It implements informer.Observer, so an order is at least as new as the cache.
type RecentOrders struct {
	byName *lru.Cache

	mu    sync.Mutex
	bytes int
	lists uint64 // number of calls of Missed
}

type recentOrder struct {
	*v1alpha1.AcmeOrder
	bytes int
}

// NewRecentOrders returns an empty RecentOrders.
func NewRecentOrders() *RecentOrders {
	r := &RecentOrders{}
	r.byName = lru.NewWithEvictionFunc(maxRecent, func(_ lru.Key, kept any) { r.bytes -= kept.(recentOrder).bytes })
	return r
}

// Stored implements informer.Observer. It keeps a finished order without its signed request, and drops the ones that were read least
// recently beyond the bounds.
func (r *RecentOrders) Stored(object client.Object, bytes int, damaged bool) {
	order, ok := object.(*v1alpha1.AcmeOrder)
	if !ok {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	name := client.ObjectKeyFromObject(order)
	r.byName.Remove(name)
	if damaged || bytes > maxRecentBytes || !order.Finished() || ordercache.Holds(order) {
		return
	}
	kept := order.DeepCopy() // the order is the cache's
	kept.ManagedFields = nil
	if kept.Spec.Finalization != nil {
		kept.Spec.Finalization = &v1alpha1.Finalization{Time: kept.Spec.Finalization.Time}
	}
	r.bytes += bytes
	r.byName.Add(name, recentOrder{kept, bytes})
	for r.bytes > maxRecentBytes {
		r.byName.RemoveOldest()
	}
}

// Deleted implements informer.Observer.
func (r *RecentOrders) Deleted(object client.Object) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byName.Remove(client.ObjectKeyFromObject(object))
}

// Missed implements informer.Observer. The kept orders may have changed.
func (r *RecentOrders) Missed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lists++
	r.byName.Clear()
	r.bytes = 0
}

// get returns a kept order, which the caller must not change.
func (r *RecentOrders) get(name types.NamespacedName) (*v1alpha1.AcmeOrder, bool) {
	kept, ok := r.byName.Get(name)
	if !ok {
		return nil, false
	}
	return kept.(recentOrder).AcmeOrder, true
}

// listed returns a number that changes when events may have been missed.
func (r *RecentOrders) listed() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lists
}

// CacheOptions returns options for the ACME server's cache, which drops the fields that the server does not read.
func CacheOptions() cache.Options {
	return cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&v1alpha1.AcmeOrder{}:         {Transform: compact},
			&v1alpha1.AcmeAuthorization{}: {Transform: dropHandled},
			&v1alpha1.AcmeAccount{}:       {Transform: dropHandled},
		},
	}
}

var stripManagedFields = cache.TransformStripManagedFields()

// dropHandled is a cache transform of authorizations and accounts.
func dropHandled(object any) (any, error) {
	ordercache.DropHandled(object)
	return stripManagedFields(object)
}

// compact is a cache transform of orders.
func compact(object any) (any, error) {
	if order, ok := object.(*v1alpha1.AcmeOrder); ok {
		ordercache.Compact(order)
	}
	return object, nil
}
