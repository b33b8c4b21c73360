package store

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/ordercache"
)

func finished(name string) *v1alpha1.AcmeOrder {
	order := orderOf(name)
	order.Status.State, order.Status.Certificate = acme.StateValid, "PEM of "+name
	return order
}

func nameOfRecent(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "ns", Name: name}
}

// Orders of many names take no more memory than others.
func TestRecentOrdersAreBoundedInBytes(t *testing.T) {
	r := NewFinishedOrders()
	const large = 100 << 10
	for i := range 2 * maxRecent {
		for range 2 { // an order is seen more than once
			r.Stored(finished(strconv.Itoa(i)), large, false)
		}
	}
	if kept := r.byName.Len(); r.bytes > maxRecentBytes || r.bytes != kept*large || kept < maxRecentBytes/large {
		t.Errorf("%d orders with %d bytes are kept", kept, r.bytes)
	}
	if _, kept := r.get(nameOfRecent(strconv.Itoa(2*maxRecent - 1))); !kept {
		t.Error("the latest order is not kept")
	}
	for i := range 2 * maxRecent {
		r.Stored(finished("small"+strconv.Itoa(i)), 3, false)
	}
	if kept := r.byName.Len(); kept != maxRecent || r.bytes != 3*kept {
		t.Errorf("%d orders with %d bytes are kept", kept, r.bytes)
	}
}

func TestRecentOrdersAreThoseThatTheCacheDoesNotHold(t *testing.T) {
	r := NewFinishedOrders()
	order := finished("one")
	order.Spec.Finalization = &v1alpha1.Finalization{Request: v1alpha1.SignedRequest{Payload: strings.Repeat("A", 1000)}}
	expect := func(when string, kept bool) {
		t.Helper()
		if got, ok := r.get(nameOfRecent("one")); ok != kept || ok && got.Status.Certificate != "PEM of one" {
			t.Errorf("%s: %v, %v", when, got, ok)
		}
		if !kept && (r.bytes != 0 || r.byName.Len() != 0) {
			t.Errorf("%s: %d bytes", when, r.bytes)
		}
	}
	r.Stored(order, 100, false)
	expect("finished", true)
	if kept, _ := r.get(nameOfRecent("one")); kept.Spec.Finalization.Request.Payload != "" || order.Spec.Finalization.Request.Payload == "" {
		t.Error("the signed request is kept, or the cache's order is changed")
	}
	unfinished := orderOf("one")
	r.Stored(unfinished, 100, false)
	expect("created again", false)
	r.Stored(order, 100, false)
	revoked := order.DeepCopy()
	revoked.Spec.Revocation = &v1alpha1.Revocation{}
	r.Stored(revoked, 100, false)
	expect("revoked", false)
	r.Stored(order, 100, false)
	r.Stored(order, 100, true)
	expect("damaged", false)
	r.Stored(order, 100, false)
	r.Deleted(order)
	expect("deleted", false)
	r.Stored(order, 100, false)
	before := r.listed()
	r.Missed()
	expect("events may be missing", false)
	if r.listed() == before {
		t.Error("a list is not noticed")
	}
}

// An order that the cache does not hold is read past it, and not kept: no event would ever drop it.
func TestAFinishedOrderThatIsReadIsNotKept(t *testing.T) {
	s, cached, live := newTestObjects()
	s.holds, s.position.informer = ordercache.Holds, watched("20")
	s.noted = func(*v1alpha1.AcmeOrder) {}
	live.put(orderAt("10", acme.StateValid))
	for range 2 {
		if order, err := s.Get(t.Context(), orderKey); err != nil || order.ResourceVersion != "10" {
			t.Fatalf("%v, %v", order, err)
		}
	}
	if live.reads != 2 || len(s.newer) != 0 {
		t.Errorf("%d reads, %d kept", live.reads, len(s.newer))
	}
	// While the watch is behind, the order is kept: the client must not see it go back.
	s.position.informer = watched("9")
	if _, err := s.Get(t.Context(), orderKey); err != nil {
		t.Fatal(err)
	}
	cached.put(orderAt("9", acme.StateProcessing))
	if order, err := s.Get(t.Context(), orderKey); err != nil || order.ResourceVersion != "10" {
		t.Errorf("%v, %v", order, err)
	}
	delete(cached.orders, orderKey)
	s.observed(orderAt("10", acme.StateValid))
	if len(s.newer) != 0 {
		t.Errorf("%d kept after the event", len(s.newer))
	}
}

// An order whose life falls into a lost watch: no event tells how it ended. The client that made it, and the count of its pending orders,
// must not be left with its beginning.
func TestAnOrderThatEndsWhileTheWatchIsLost(t *testing.T) {
	for name, end := range map[string]func(*Store, *shelf) error{
		"read": func(s *Store, live *shelf) error {
			done := orderAt("10", acme.StateValid)
			done.Spec.AccountRef.Name = "me"
			live.put(done)
			order, err := s.Orders.Get(t.Context(), orderKey)
			if err == nil && !order.Finished() {
				t.Errorf("the client is shown %+v", order)
			}
			return err
		},
		"not read": func(s *Store, live *shelf) error {
			done := orderAt("10", acme.StateInvalid)
			done.Spec.AccountRef.Name = "me"
			live.put(done)
			s.Orders.settleMissing(t.Context())
			return nil
		},
		"removed": func(s *Store, live *shelf) error {
			delete(live.orders, orderKey)
			s.Orders.settleMissing(t.Context())
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, cached := newTestStore()
			live := s.Orders.live.(*shelf)
			s.counts, s.pending, s.Orders.noted, s.Orders.dropped = newOrderCounts(), newPendingIndex(), s.noteOrder, s.dropOrder
			s.Orders.holds, s.Orders.position.informer = ordercache.Holds, watched("5")
			created := orderAt("", acme.StatePending)
			created.Spec.AccountRef.Name = "me"
			if err := s.Orders.Create(t.Context(), created); err != nil {
				t.Fatal(err)
			}
			s.Orders.settleMissing(t.Context())
			account := types.NamespacedName{Namespace: "ns", Name: "me"}
			if s.pending.count(account, nil).Orders != 1 || len(s.Orders.newer) != 1 {
				t.Fatal("the new order isn't kept until its event comes")
			}
			s.Orders.position.informer = watched("20") // by a list, which has no finished orders
			if err := end(s, live); err != nil {
				t.Error(err)
			}
			if n := s.pending.count(account, nil).Orders; n != 0 || len(s.Orders.newer) != 0 {
				t.Errorf("%d orders are pending, %d kept", n, len(s.Orders.newer))
			}
			if len(cached.orders) != 0 {
				t.Error("the cache has the order")
			}
		})
	}
}

// The controllers remove a registration that they refuse, while the watch of accounts may be lost. The client must not wait for it for ever.
func TestAnObjectThatIsRemovedWhileTheWatchIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, cached, live := newTestObjects() // the cache holds all objects
		s.position.informer = watched("5")
		if err := s.Create(t.Context(), orderAt("", acme.StatePending)); err != nil {
			t.Fatal(err)
		}
		waits, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		removed := make(chan error)
		go func() {
			_, err := s.Await(waits, orderKey, (*v1alpha1.AcmeOrder).Finished)
			removed <- err
		}()
		synctest.Wait()
		expect := func(when string, kept, reads int) {
			t.Helper()
			s.settleMissing(t.Context())
			if len(s.newer) != kept || live.reads != reads {
				t.Errorf("%s: %d kept after %d reads", when, len(s.newer), live.reads)
			}
		}
		expect("before the watch has passed it", 1, 0)
		s.position.informer = watched("20")
		expect("about to be in the cache", 1, 1)
		delete(live.orders, orderKey)
		expect("removed", 0, 2)
		if err := <-removed; !errors.Is(err, ErrNotFound) || len(cached.orders) != 0 {
			t.Errorf("the request that waits: %v", err)
		}
	})
}

// The answer of a write may be handled after the event that the order is finished.
func TestALateAnswerAboutAFinishedOrderIsNotKept(t *testing.T) {
	s, _, live := newTestObjects()
	s.holds, s.position.informer = ordercache.Holds, watched("20")
	s.noted = func(*v1alpha1.AcmeOrder) { t.Error("it is counted") }
	s.written(orderAt("10", acme.StateProcessing))
	live.put(orderAt("11", acme.StateValid))
	if order, err := s.Get(t.Context(), orderKey); err != nil || !order.Finished() || len(s.newer) != 0 {
		t.Errorf("%v, %v", order, err)
	}
}

// An order that is finished between a read and the wait for its end is found.
func TestAFinishedOrderIsAwaited(t *testing.T) {
	s, _, live := newTestObjects()
	s.holds = func(o *v1alpha1.AcmeOrder) bool { return !o.Finished() }
	finished := NewFinishedOrders()
	s.uncached = finished.get
	live.put(orderAt("10", acme.StateValid))
	if order, err := s.Await(t.Context(), orderKey, (*v1alpha1.AcmeOrder).Finished); err != nil || !order.Finished() || live.reads != 1 {
		t.Errorf("%v, %v after %d reads", order, err, live.reads)
	}
	finished.Stored(orderAt("10", acme.StateValid), 100, false)
	if order, err := s.Await(t.Context(), orderKey, (*v1alpha1.AcmeOrder).Finished); err != nil || !order.Finished() || live.reads != 1 {
		t.Errorf("%v, %v after %d reads", order, err, live.reads)
	}
}
