// Package inventory counts the stored orders, which the cache does not hold once they are finished: their number by issuer and state,
// and their bytes. It also fills the set of replaced certificates. An order takes at most 64 bytes of memory here.
//
// The events of the watch give the changes, and a walk over all stored orders gives the rest. An event counts more than what a walk
// reads: a page may be older than an event that arrived before it.
package inventory

import (
	"hash/maphash"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/replaced"
)

// Bytes is told how the stored bytes change; *budget.Budget is one.
type Bytes interface {
	// Add adds to the bytes of a kind, by issuer.
	Add(kind string, bytes map[types.NamespacedName]int64)
	// Expect sets the bytes that are stored but not counted yet, by an estimate; counted means that none are left.
	Expect(bytes int64, counted bool)
}

// kind is the kind of the counted objects.
const kind = "AcmeOrder"

// Orders is the inventory of orders. A nil *Orders knows nothing. Its methods can be called concurrently.
type Orders struct {
	bytes    Bytes
	replaced *replaced.Certificates
	seed     maphash.Seed

	mu      sync.Mutex
	entries map[uint64]entry // by a hash of the name, with a secret seed
	shares  []share          // by entry.share
	shareOf map[types.NamespacedName]uint32
	unused  []uint32 // of shares

	// walk numbers the walks; an entry has the number of the walk in which it was seen last.
	walk uint8
	// gone holds the orders that were deleted while a walk goes on; nil without one.
	gone map[uint64]struct{}
	// counted means that a walk was completed.
	counted bool
}

// New returns an Orders that knows no orders yet. bytes is nil if nobody counts them.
func New(bytes Bytes) *Orders {
	if bytes != nil {
		bytes.Expect(0, false)
	}
	return &Orders{
		bytes: bytes, replaced: replaced.New(), seed: maphash.MakeSeed(), entries: map[uint64]entry{},
		shareOf: map[types.NamespacedName]uint32{},
	}
}

// entry is a stored order in 8 bytes.
type entry struct {
	share uint32
	rest  uint32 // 24 bits for the size in bytes, 4 for the state, 4 for the walk
}

const (
	maxSize  = 1<<24 - 1
	maxWalks = 16
)

func newEntry(share uint32, size int, state, walk uint8) entry {
	return entry{share, uint32(min(size, maxSize))<<8 | uint32(state)<<4 | uint32(walk)} //nolint:gosec // bounded by maxSize
}

func (e entry) size() int64  { return int64(e.rest >> 8) }
func (e entry) state() uint8 { return uint8(e.rest >> 4 & 15) } //nolint:gosec // 4 bits
func (e entry) walk() uint8  { return uint8(e.rest & 15) }      //nolint:gosec // 4 bits

// share has the numbers of an issuer's orders. Orders can name issuers that do not exist.
type share struct {
	issuer  types.NamespacedName
	objects int
	states  [len(states)]int
}

// states are those of acmeca_orders. The first one is that of orders that can't be decoded, which are not reported.
var states = [...]acme.State{"", acme.StatePending, acme.StateReady, acme.StateProcessing, acme.StateValid, acme.StateInvalid}

// stateOf returns the index of an order's state. An order that is finalized but not issued yet is processing.
func stateOf(order *v1alpha1.AcmeOrder, damaged bool) uint8 {
	state := order.Status.State
	switch {
	case damaged:
		state = ""
	case !order.Finished() && order.Finalized():
		state = acme.StateProcessing
	case state == "":
		state = acme.StatePending
	}
	for i := range states {
		if states[i] == state {
			return uint8(i) //nolint:gosec // few states
		}
	}
	return 0
}

// Stored implements informer.Observer.
func (o *Orders) Stored(object client.Object, bytes int, damaged bool) {
	order, ok := object.(*v1alpha1.AcmeOrder)
	if o == nil || !ok {
		return
	}
	o.replaced.Note(order)
	o.mu.Lock()
	defer o.mu.Unlock()
	key := o.key(order)
	delete(o.gone, key)
	o.put(key, order, bytes, damaged)
}

// Deleted implements informer.Observer.
func (o *Orders) Deleted(object client.Object) {
	if o == nil {
		return
	}
	o.replaced.Deleted(object)
	o.mu.Lock()
	defer o.mu.Unlock()
	key := o.key(object)
	if o.gone != nil {
		o.gone[key] = struct{}{}
	}
	changes := map[types.NamespacedName]int64{}
	o.remove(key, changes)
	o.report(changes)
}

// Missed implements informer.Observer.
func (o *Orders) Missed() {
	o.Replaced().Missed()
}

// Again is signalled when events were missed, and the orders have to be walked again.
func (o *Orders) Again() <-chan struct{} {
	return o.Replaced().Again()
}

// Replaced returns the certificates that valid orders replaced.
func (o *Orders) Replaced() *replaced.Certificates {
	if o == nil {
		return nil
	}
	return o.replaced
}

// Count is the number of an issuer's orders in a state.
type Count struct {
	Issuer types.NamespacedName
	State  acme.State
	Orders int
}

// Counts returns the numbers of orders that are known, and whether all are.
func (o *Orders) Counts() (counts []Count, all bool) {
	if o == nil {
		return nil, false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.shares {
		for state, n := range o.shares[i].states {
			if n > 0 && state > 0 {
				counts = append(counts, Count{o.shares[i].issuer, states[state], n})
			}
		}
	}
	return counts, o.counted
}

func (o *Orders) key(object client.Object) uint64 {
	return maphash.Comparable(o.seed, client.ObjectKeyFromObject(object))
}

func issuerOf(order *v1alpha1.AcmeOrder) types.NamespacedName {
	return types.NamespacedName{Namespace: order.Namespace, Name: order.Spec.IssuerRef.Name}
}

// put notes an order as it is stored.
func (o *Orders) put(key uint64, order *v1alpha1.AcmeOrder, bytes int, damaged bool) {
	changes := map[types.NamespacedName]int64{}
	o.remove(key, changes)
	issuer := issuerOf(order)
	index, known := o.shareOf[issuer]
	if !known {
		if n := len(o.unused); n > 0 {
			index, o.unused = o.unused[n-1], o.unused[:n-1]
			o.shares[index] = share{issuer: issuer}
		} else {
			index = uint32(len(o.shares)) //nolint:gosec // fewer than there are orders
			o.shares = append(o.shares, share{issuer: issuer})
		}
		o.shareOf[issuer] = index
	}
	e := newEntry(index, bytes, stateOf(order, damaged), o.walk)
	o.entries[key] = e
	of := &o.shares[index]
	of.objects++
	of.states[e.state()]++
	changes[issuer] += e.size()
	o.report(changes)
}

// remove forgets an order, and adds to changes how the bytes change.
func (o *Orders) remove(key uint64, changes map[types.NamespacedName]int64) {
	e, known := o.entries[key]
	if !known {
		return
	}
	delete(o.entries, key)
	of := &o.shares[e.share]
	changes[of.issuer] -= e.size()
	of.states[e.state()]--
	if of.objects--; of.objects == 0 {
		delete(o.shareOf, of.issuer)
		o.unused = append(o.unused, e.share)
	}
}

func (o *Orders) report(changes map[types.NamespacedName]int64) {
	if o.bytes != nil && len(changes) > 0 {
		o.bytes.Add(kind, changes)
	}
}
