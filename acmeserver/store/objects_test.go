package store

import (
	"context"
	"errors"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// shelf is a cache, or an API server, that holds the orders that a test puts into it.
type shelf struct {
	client.Client
	orders map[types.NamespacedName]*v1alpha1.AcmeOrder
	reads  int
}

func (s *shelf) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	s.reads++
	order, ok := s.orders[key]
	if !ok {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "acmeorders"}, key.Name)
	}
	order.DeepCopyInto(into.(*v1alpha1.AcmeOrder))
	return nil
}

func (s *shelf) Create(_ context.Context, object client.Object, _ ...client.CreateOption) error {
	order := object.(*v1alpha1.AcmeOrder)
	order.ResourceVersion = "10"
	s.put(order)
	return nil
}

func (s *shelf) put(order *v1alpha1.AcmeOrder) {
	s.orders[client.ObjectKeyFromObject(order)] = order.DeepCopy()
}

var orderKey = types.NamespacedName{Namespace: "ns", Name: "o"}

func orderAt(version string, state acme.State) *v1alpha1.AcmeOrder {
	order := &v1alpha1.AcmeOrder{Status: v1alpha1.AcmeOrderStatus{State: state}}
	order.Namespace, order.Name, order.ResourceVersion = orderKey.Namespace, orderKey.Name, version
	return order
}

func newTestObjects() (s *Objects[*v1alpha1.AcmeOrder], cached, live *shelf) {
	cached = &shelf{orders: map[types.NamespacedName]*v1alpha1.AcmeOrder{}}
	live = &shelf{orders: map[types.NamespacedName]*v1alpha1.AcmeOrder{}}
	s = newObjects(cached, live, orders, func() *v1alpha1.AcmeOrder { return &v1alpha1.AcmeOrder{} }, func() client.ObjectList { return &v1alpha1.AcmeOrderList{} })
	s.liveReads, s.waiting = make(chan struct{}, 1), make(chan struct{}, 1)
	return s, cached, live
}

func TestStoreShowsItsWritesBeforeTheCacheDoes(t *testing.T) {
	s, cached, live := newTestObjects()
	if err := s.Create(t.Context(), orderAt("", acme.StatePending)); err != nil {
		t.Fatal(err)
	}
	order, err := s.Get(t.Context(), orderKey)
	if err != nil || order.ResourceVersion != "10" || live.reads != 0 {
		t.Fatalf("got %v, %v after %d reads past the cache", order, err, live.reads)
	}
	// The cache receives an older state first, then the one that was written, then a newer one.
	for _, step := range []struct{ cached, shown string }{{"9", "10"}, {"10", "10"}, {"11", "11"}} {
		update := orderAt(step.cached, acme.StatePending)
		cached.put(update)
		s.observed(update)
		if order, err = s.Get(t.Context(), orderKey); err != nil || order.ResourceVersion != step.shown {
			t.Errorf("with %s in the cache: shows %s, %v; want %s", step.cached, order.ResourceVersion, err, step.shown)
		}
	}
	if len(s.newer) != 0 {
		t.Error("a write is kept although the cache has it")
	}
}

func TestStoreReadsPastTheCacheOnAMiss(t *testing.T) {
	s, _, live := newTestObjects()
	live.put(orderAt("7", acme.StateReady))
	if order, err := s.Get(t.Context(), orderKey); err != nil || order.Status.State != acme.StateReady {
		t.Fatalf("got %v, %v", order, err)
	}
	if _, err := s.Get(t.Context(), orderKey); err != nil || live.reads != 1 {
		t.Errorf("%d reads past the cache, %v: the second time it is known", live.reads, err)
	}
	_, err := s.Get(t.Context(), types.NamespacedName{Namespace: "ns", Name: "absent"})
	if !errors.Is(err, ErrNotFound) {
		t.Errorf("an object that does not exist: %v", err)
	}
}

// overtaken is a cache that receives a write right after it was read.
type overtaken struct {
	client.Client
	then func()
}

func (o *overtaken) Get(ctx context.Context, key client.ObjectKey, into client.Object, options ...client.GetOption) error {
	defer o.then()
	return o.Client.Get(ctx, key, into, options...)
}

func TestStoreShowsAWriteThatTheCacheReceivesDuringTheRead(t *testing.T) {
	s, cached, _ := newTestObjects()
	order := orderAt("10", acme.StatePending)
	s.written(order)
	s.cached = &overtaken{cached, func() { cached.put(order); s.observed(order) }}
	if got, err := s.GetCached(t.Context(), orderKey); err != nil || got.ResourceVersion != "10" {
		t.Errorf("%v, %v", got, err)
	}
	if len(s.newer) > 0 {
		t.Error("the cache has not received the write")
	}
}

func TestStoreForgetsDeletedObjects(t *testing.T) {
	s, _, live := newTestObjects()
	if err := s.Create(t.Context(), orderAt("", acme.StatePending)); err != nil {
		t.Fatal(err)
	}
	delete(live.orders, orderKey)
	s.deleted(orderAt("12", acme.StatePending))
	if _, err := s.Get(t.Context(), orderKey); !errors.Is(err, ErrNotFound) {
		t.Errorf("a deleted order: %v", err)
	}
}

// An API answer may be processed after the news that the object is gone.
func TestStoreForgetsObjectsDeletedBeforeTheirAnswer(t *testing.T) {
	s, _, _ := newTestObjects()
	order := orderAt("10", acme.StatePending)
	order.UID = "uid"
	s.written(order)
	s.deleted(orderAt("11", acme.StateInvalid)) // another one of its name
	if _, err := s.GetCached(t.Context(), orderKey); err != nil {
		t.Errorf("an object that the cache does not have yet: %v", err)
	}
	gone := orderAt("12", acme.StateInvalid)
	gone.UID = "uid"
	s.deleted(gone)
	s.written(order)
	if _, err := s.GetCached(t.Context(), orderKey); !errors.Is(err, ErrNotFound) {
		t.Errorf("a removed object: %v", err)
	}
	if _, err := s.Await(t.Context(), orderKey, (*v1alpha1.AcmeOrder).Finished); !errors.Is(err, ErrNotFound) {
		t.Errorf("waiting for a removed object: %v", err)
	}
	if last, known := s.LastState("uid"); !known || last.Status.State != acme.StateInvalid {
		t.Errorf("the last state of a removed object: %v", last)
	}
	for range maxRemovals {
		s.deleted(orderAt("13", acme.StateInvalid))
	}
	if _, known := s.LastState("uid"); known || len(s.removed.ring) != maxRemovals {
		t.Errorf("remembers %d removals", len(s.removed.ring))
	}
}

func TestStoreAwaitsARemoval(t *testing.T) {
	s, cached, _ := newTestObjects()
	if err := s.AwaitRemoval(t.Context(), orderKey); err != nil {
		t.Errorf("an object that does not exist: %v", err)
	}
	cached.put(orderAt("1", acme.StateInvalid))
	gone := make(chan error)
	go func() { gone <- s.AwaitRemoval(t.Context(), orderKey) }()
	for waiting := false; !waiting; {
		s.mu.Lock()
		waiting = len(s.waiters[orderKey]) > 0
		s.mu.Unlock()
	}
	s.observed(orderAt("2", acme.StateInvalid))
	s.deleted(orderAt("2", acme.StateInvalid))
	if err := <-gone; err != nil {
		t.Errorf("after the removal: %v", err)
	}
	if len(s.waiters) != 0 {
		t.Error("a waiter is left behind")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.AwaitRemoval(ended, orderKey); !errors.Is(err, ErrRemoving) {
		t.Errorf("an object that is not removed in time: %v", err)
	}
}

func TestStoreAwaitsAChange(t *testing.T) {
	s, cached, _ := newTestObjects()
	cached.put(orderAt("1", acme.StateProcessing))
	done := make(chan *v1alpha1.AcmeOrder)
	go func() {
		order, _ := s.Await(t.Context(), orderKey, (*v1alpha1.AcmeOrder).Finished)
		done <- order
	}()
	// More changes than a waiter holds, from when it waits: the last one must reach it.
	for {
		s.mu.Lock()
		waiting := len(s.waiters[orderKey]) > 0
		s.mu.Unlock()
		if waiting {
			break
		}
	}
	for _, version := range []string{"2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"} {
		s.observed(orderAt(version, acme.StateProcessing))
	}
	s.observed(orderAt("13", acme.StateValid))
	if order := <-done; order.Status.State != acme.StateValid {
		t.Errorf("got %+v", order)
	}
	if len(s.waiters) != 0 {
		t.Error("a waiter is left behind")
	}
}

func TestStoreDoesNotWaitBeyondItsContextNorInACrowd(t *testing.T) {
	s, cached, _ := newTestObjects()
	cached.put(orderAt("1", acme.StateProcessing))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if order, err := s.Await(ended, orderKey, (*v1alpha1.AcmeOrder).Finished); err != nil || order.Status.State != acme.StateProcessing {
		t.Errorf("with an ended context: %v, %v", order, err)
	}
	s.waiting <- struct{}{} // full
	if order, err := s.Await(t.Context(), orderKey, (*v1alpha1.AcmeOrder).Finished); err != nil || order.Status.State != acme.StateProcessing {
		t.Errorf("in a crowd: %v, %v", order, err)
	}
}

func TestStoreBoundsReadsPastTheCache(t *testing.T) {
	s, _, _ := newTestObjects()
	s.liveReads <- struct{}{} // full
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	_, err := s.Get(ctx, orderKey)
	if !errors.Is(err, ErrBusy) {
		t.Errorf("got %v", err)
	}
}
