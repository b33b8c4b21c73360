// Package replaced knows the certificates that valid orders replaced (RFC 9773 section 5), in at most 24 bytes each. No cache holds
// finished orders, and a list of the orders that replace a certificate makes the API server compare all stored orders.
//
// The events of the watch give the orders that are finished from now on, and a walk over the stored orders gives the others.
package replaced

import (
	"encoding/binary"
	"hash/maphash"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// Certificates is a set of replaced certificates. It implements informer.Observer. A nil *Certificates knows nothing. Its methods can be
// called concurrently.
type Certificates struct {
	// again is signalled when the orders have to be walked again.
	again chan struct{}
	seed  maphash.Seed

	mu     sync.Mutex
	hashes map[hash]struct{}
	// walked means that a walk was completed and no event was missed since before it began. missed means that one was missed since the last
	// walk began.
	walked, missed bool
}

// hash is a hash of a certificate, with a secret seed: nobody can choose two certificates with the same hash. It is an array, since a map
// pads a uint64 and an empty struct to 16 bytes.
type hash [8]byte

// New returns a Certificates that waits for the first list of the informer, and then for a walk.
func New() *Certificates {
	return &Certificates{again: make(chan struct{}, 1), seed: maphash.MakeSeed(), hashes: map[hash]struct{}{}}
}

// Contains reports whether a valid order replaced a certificate of an issuer. known is false if only the API server
// knows.
func (c *Certificates) Contains(issuer types.NamespacedName, id string) (replaced, known bool) {
	if c == nil {
		return false, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, replaced = c.hashes[c.hash(issuer, id)]
	return replaced, c.walked
}

// Stored implements informer.Observer.
func (c *Certificates) Stored(object client.Object, _ int, _ bool) {
	if order, ok := object.(*v1alpha1.AcmeOrder); ok {
		c.Note(order)
	}
}

// Deleted implements informer.Observer.
func (c *Certificates) Deleted(object client.Object) {
	order, ok := object.(*v1alpha1.AcmeOrder)
	if c == nil || !ok || !replaces(order) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.hashes, c.hashOf(order))
}

// Missed implements informer.Observer. Orders may have been deleted since the last event, so the walk starts with an empty set.
func (c *Certificates) Missed() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.walked, c.missed = false, true
	clear(c.hashes)
	select {
	case c.again <- struct{}{}:
	default:
	}
}

// Again is signalled when events were missed, and the orders have to be walked.
func (c *Certificates) Again() <-chan struct{} {
	if c == nil {
		return nil
	}
	return c.again
}

// BeginWalk begins a walk over all valid orders that replace a certificate. The walk calls Note with each, and then EndWalk.
func (c *Certificates) BeginWalk() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.missed = false
	select {
	case <-c.again:
	default:
	}
}

// Note notes the certificate that an order replaces, if the order is valid. An order that was deleted after a walk read it stays, until
// events are missed.
func (c *Certificates) Note(order *v1alpha1.AcmeOrder) {
	if c == nil || !replaces(order) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hashes[c.hashOf(order)] = struct{}{}
}

// EndWalk ends a walk that has met all orders.
func (c *Certificates) EndWalk() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.walked = !c.missed
}

func replaces(order *v1alpha1.AcmeOrder) bool {
	return order.Spec.Replaces != "" && order.Status.State == acme.StateValid
}

// certificate is a certificate of an issuer, by its ID (RFC 9773 section 4.1).
type certificate struct {
	issuer types.NamespacedName
	id     string
}

func (c *Certificates) hashOf(order *v1alpha1.AcmeOrder) hash {
	return c.hash(types.NamespacedName{Namespace: order.Namespace, Name: order.Spec.IssuerRef.Name}, order.Spec.Replaces)
}

func (c *Certificates) hash(issuer types.NamespacedName, id string) (h hash) {
	binary.BigEndian.PutUint64(h[:], maphash.Comparable(c.seed, certificate{issuer, id}))
	return h
}
