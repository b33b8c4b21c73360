package informer

import (
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Observer follows the stored orders, where the events of watches are decoded: before a cache and its event handlers have them. A cache
// holds only parts of orders, and some orders not at all.
type Observer interface {
	// Stored is told of an order as it is stored, and its size in JSON. damaged means that the order lacks members that can't be decoded.
	Stored(object client.Object, bytes int, damaged bool)
	// Deleted is told that an order was deleted.
	Deleted(object client.Object)
	// Missed is told that a watch starts from a new list: events before it may be missing.
	Missed()
}

// observed tells the observer of an event.
func (d *eventDecoder) observed(e *event) {
	observer, object := d.sizes.observer, e.object.(client.Object)
	switch {
	case observer == nil:
	case e.kind == watch.Deleted:
		observer.Deleted(object)
	default:
		observer.Stored(object, e.size, e.reason != nil)
	}
}

// relisted tells the observer of a new list.
func (s *storedSizes) relisted() {
	if s.observer != nil {
		s.observer.Missed()
	}
}

// newSizes returns the sizes of a kind's objects. Those of orders are left to the observer, if there is one.
func (i *Informers) newSizes(kind string) *storedSizes {
	if kind != "AcmeOrder" || i.Orders == nil {
		return newStoredSizes(kind, i.Count)
	}
	s := newStoredSizes(kind, nil)
	s.observer = i.Orders
	return s
}
