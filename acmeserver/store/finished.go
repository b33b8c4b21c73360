package store

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/lru"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/ordercache"
	"github.com/acmeca/acmeca/internal/replaced"
)

const (
	// maxRecent bounds the orders that are kept. Most take about 3 KiB.
	maxRecent = 2048
	// maxRecentBytes bounds the sum of their sizes in JSON: an order of many names takes 50 KiB.
	maxRecentBytes = 8 << 20
)

// FinishedOrders keeps the orders that were finished last, whose certificates clients are about to download, and knows the certificates
// that others replaced. The cache of orders does not hold them. It implements informer.Observer, so it is at least as new as the cache.
type FinishedOrders struct {
	replaced *replaced.Certificates
	byName   *lru.Cache

	mu    sync.Mutex
	bytes int
	lists uint64 // number of calls of Missed
}

type recentOrder struct {
	*v1alpha1.AcmeOrder
	bytes int
}

// NewFinishedOrders returns an empty FinishedOrders.
func NewFinishedOrders() *FinishedOrders {
	f := &FinishedOrders{replaced: replaced.New()}
	f.byName = lru.NewWithEvictionFunc(maxRecent, func(_ lru.Key, kept any) { f.bytes -= kept.(recentOrder).bytes })
	return f
}

// Stored implements informer.Observer. It keeps a finished order without its signed request, and drops the ones that were read least
// recently beyond the bounds.
func (f *FinishedOrders) Stored(object client.Object, bytes int, damaged bool) {
	order, ok := object.(*v1alpha1.AcmeOrder)
	if !ok {
		return
	}
	f.replaced.Note(order)
	f.mu.Lock()
	defer f.mu.Unlock()
	name := client.ObjectKeyFromObject(order)
	f.byName.Remove(name)
	if damaged || bytes > maxRecentBytes || !order.Finished() || ordercache.Holds(order) {
		return
	}
	kept := order.DeepCopy() // the order is the cache's
	kept.ManagedFields = nil
	if kept.Spec.Finalization != nil {
		kept.Spec.Finalization = &v1alpha1.Finalization{Time: kept.Spec.Finalization.Time}
	}
	f.bytes += bytes
	f.byName.Add(name, recentOrder{kept, bytes})
	for f.bytes > maxRecentBytes {
		f.byName.RemoveOldest()
	}
}

// Deleted implements informer.Observer.
func (f *FinishedOrders) Deleted(object client.Object) {
	f.replaced.Deleted(object)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.byName.Remove(client.ObjectKeyFromObject(object))
}

// Missed implements informer.Observer. The kept orders may have changed.
func (f *FinishedOrders) Missed() {
	f.replaced.Missed()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lists++
	f.byName.Clear()
	f.bytes = 0
}

// get returns a kept order, which the caller must not change.
func (f *FinishedOrders) get(name types.NamespacedName) (*v1alpha1.AcmeOrder, bool) {
	kept, ok := f.byName.Get(name)
	if !ok {
		return nil, false
	}
	return kept.(recentOrder).AcmeOrder, true
}

// listed returns a number that changes when events may have been missed.
func (f *FinishedOrders) listed() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lists
}
