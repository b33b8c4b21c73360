package inventory

import (
	"k8s.io/apimachinery/pkg/types"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// Walk reads all stored orders into an inventory, page by page. The orders that an incomplete walk did not reach stay as they were known.
type Walk struct {
	of *Orders
	// orders and bytes are those that the walk has read.
	orders, bytes int64
}

// Begin starts a walk, and ends an earlier one. A page of the walk must be read after Begin.
func (o *Orders) Begin() *Walk {
	if o == nil {
		return &Walk{}
	}
	o.replaced.BeginWalk()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.walk = (o.walk + 1) % maxWalks
	o.gone = map[uint64]struct{}{}
	return &Walk{of: o}
}

// Note notes an order of a page, unless an event has told of it since the walk began.
func (w *Walk) Note(order *v1alpha1.AcmeOrder, bytes int, damaged bool) {
	o := w.of
	if o == nil {
		return
	}
	w.orders++
	w.bytes += int64(bytes)
	o.replaced.Note(order)
	o.mu.Lock()
	defer o.mu.Unlock()
	key := o.key(order)
	if _, deleted := o.gone[key]; deleted {
		return
	}
	if e, known := o.entries[key]; known && e.walk() == o.walk {
		return
	}
	o.put(key, order, bytes, damaged)
}

// Remaining tells how many orders the walk has still to read. Until the first walk is completed, they count with the mean size of those
// that it has read.
func (w *Walk) Remaining(orders int64) {
	o := w.of
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.bytes != nil && !o.counted && w.orders > 0 {
		o.bytes.Expect(orders*w.bytes/w.orders, false)
	}
}

// Complete ends a walk that has read all pages. It removes the orders that neither the walk nor an event has met since the walk began.
func (w *Walk) Complete() {
	o := w.of
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	changes := map[types.NamespacedName]int64{}
	for key, e := range o.entries {
		if e.walk() != o.walk {
			o.remove(key, changes)
		}
	}
	o.report(changes)
	o.gone, o.counted = nil, true
	o.replaced.EndWalk()
	if o.bytes != nil {
		o.bytes.Expect(0, true)
	}
}
