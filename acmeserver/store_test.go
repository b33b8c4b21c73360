package acmeserver

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// shelf is a cache, or an API server, that holds what a test puts into it.
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

func newTestStore() (s *store[*v1alpha1.AcmeOrder], cached, live *shelf) {
	cached = &shelf{orders: map[types.NamespacedName]*v1alpha1.AcmeOrder{}}
	live = &shelf{orders: map[types.NamespacedName]*v1alpha1.AcmeOrder{}}
	return &store[*v1alpha1.AcmeOrder]{
		cached: cached, live: live, kind: "order", empty: func() *v1alpha1.AcmeOrder { return &v1alpha1.AcmeOrder{} },
		reads: make(chan struct{}, 1), awaiting: make(chan struct{}, 1),
		newer: map[types.NamespacedName]*v1alpha1.AcmeOrder{}, waiters: map[types.NamespacedName]map[chan *v1alpha1.AcmeOrder]struct{}{},
	}, cached, live
}

func TestStoreShowsWhatItWroteBeforeTheCacheDoes(t *testing.T) {
	s, cached, live := newTestStore()
	if err := s.Create(t.Context(), orderAt("", acme.StatePending)); err != nil {
		t.Fatal(err)
	}
	order, err := s.Get(t.Context(), orderKey)
	if err != nil || order.ResourceVersion != "10" || live.reads != 0 {
		t.Fatalf("got %v, %v after %d reads past the cache", order, err, live.reads)
	}
	// The cache comes up, at first with an older state, then with that one, then with a newer one.
	for _, step := range []struct{ cached, shown string }{{"9", "10"}, {"10", "10"}, {"11", "11"}} {
		update := orderAt(step.cached, acme.StatePending)
		cached.put(update)
		s.observed(update)
		if order, err = s.Get(t.Context(), orderKey); err != nil || order.ResourceVersion != step.shown {
			t.Errorf("with %s in the cache: shows %s, %v; want %s", step.cached, order.ResourceVersion, err, step.shown)
		}
	}
	if len(s.newer) != 0 {
		t.Error("keeps what the cache has")
	}
}

func TestStoreReadsPastTheCacheOnAMiss(t *testing.T) {
	s, _, live := newTestStore()
	live.put(orderAt("7", acme.StateReady))
	if order, err := s.Get(t.Context(), orderKey); err != nil || order.Status.State != acme.StateReady {
		t.Fatalf("got %v, %v", order, err)
	}
	if _, err := s.Get(t.Context(), orderKey); err != nil || live.reads != 1 {
		t.Errorf("%d reads past the cache, %v: the second time it is known", live.reads, err)
	}
	_, err := s.Get(t.Context(), types.NamespacedName{Namespace: "ns", Name: "absent"})
	if problem, ok := errors.AsType[*acme.Problem](err); !ok || problem.Status != http.StatusNotFound {
		t.Errorf("what doesn't exist: %v", err)
	}
}

// overtaken is a cache that comes up to what was written right after it was read.
type overtaken struct {
	client.Client
	then func()
}

func (o *overtaken) Get(ctx context.Context, key client.ObjectKey, into client.Object, options ...client.GetOption) error {
	defer o.then()
	return o.Client.Get(ctx, key, into, options...)
}

func TestStoreShowsWhatTheCacheComesUpToWhileItIsRead(t *testing.T) {
	s, cached, _ := newTestStore()
	order := orderAt("10", acme.StatePending)
	s.saw(order)
	s.cached = &overtaken{cached, func() { cached.put(order); s.observed(order) }}
	if got, err := s.getCached(t.Context(), orderKey); err != nil || got.ResourceVersion != "10" {
		t.Errorf("%v, %v", got, err)
	}
	if len(s.newer) > 0 {
		t.Error("the cache hasn't come up to it")
	}
}

func TestStoreForgetsWhatWasDeleted(t *testing.T) {
	s, _, live := newTestStore()
	if err := s.Create(t.Context(), orderAt("", acme.StatePending)); err != nil {
		t.Fatal(err)
	}
	delete(live.orders, orderKey)
	s.deleted(orderAt("12", acme.StatePending))
	if _, err := s.Get(t.Context(), orderKey); !isNotFound(err) {
		t.Errorf("a deleted order: %v", err)
	}
}

// The answer to a request may be worked on after the watch has told that the object is gone again.
func TestStoreForgetsWhatWasDeletedBeforeItsAnswerCame(t *testing.T) {
	s, _, _ := newTestStore()
	order := orderAt("10", acme.StatePending)
	order.UID = "uid"
	s.saw(order)
	s.deleted(orderAt("11", acme.StateInvalid)) // another one of its name
	if _, err := s.getCached(t.Context(), orderKey); err != nil {
		t.Errorf("what the cache is behind with: %v", err)
	}
	gone := orderAt("12", acme.StateInvalid)
	gone.UID = "uid"
	s.deleted(gone)
	s.saw(order)
	if _, err := s.getCached(t.Context(), orderKey); !apierrors.IsNotFound(err) {
		t.Errorf("what is gone: %v", err)
	}
	if _, err := s.Await(t.Context(), orderKey, finished); !isNotFound(err) {
		t.Errorf("waiting for what is gone: %v", err)
	}
	if last, known := s.Last("uid"); !known || last.Status.State != acme.StateInvalid {
		t.Errorf("what was decided before it went: %v", last)
	}
	for range rememberedRemovals {
		s.deleted(orderAt("13", acme.StateInvalid))
	}
	if _, known := s.Last("uid"); known || len(s.gone) != rememberedRemovals {
		t.Errorf("remembers %d removals", len(s.gone))
	}
}

func TestStoreAwaitsARemoval(t *testing.T) {
	s, cached, _ := newTestStore()
	if err := s.AwaitGone(t.Context(), orderKey); err != nil {
		t.Errorf("what isn't there is gone: %v", err)
	}
	cached.put(orderAt("1", acme.StateInvalid))
	gone := make(chan error)
	go func() { gone <- s.AwaitGone(t.Context(), orderKey) }()
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
	if err := s.AwaitGone(ended, orderKey); problemOf(t.Context(), err).Status != 503 {
		t.Errorf("what isn't removed in time: %v", err)
	}
}

func TestStoreAwaitsAChange(t *testing.T) {
	s, cached, _ := newTestStore()
	cached.put(orderAt("1", acme.StateProcessing))
	done := make(chan *v1alpha1.AcmeOrder)
	go func() {
		order, _ := s.Await(t.Context(), orderKey, finished)
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
	s, cached, _ := newTestStore()
	cached.put(orderAt("1", acme.StateProcessing))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if order, err := s.Await(ended, orderKey, finished); err != nil || order.Status.State != acme.StateProcessing {
		t.Errorf("with its time over: %v, %v", order, err)
	}
	s.awaiting <- struct{}{} // full
	if order, err := s.Await(t.Context(), orderKey, finished); err != nil || order.Status.State != acme.StateProcessing {
		t.Errorf("in a crowd: %v, %v", order, err)
	}
}

func TestStoreBoundsReadsPastTheCache(t *testing.T) {
	s, _, _ := newTestStore()
	s.reads <- struct{}{} // full
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	_, err := s.Get(ctx, orderKey)
	if problem, ok := errors.AsType[*acme.Problem](err); !ok || problem.Status != http.StatusServiceUnavailable {
		t.Errorf("got %v", err)
	}
}

func TestIDsAreNamesOfObjects(t *testing.T) {
	for id, want := range map[string]bool{
		"abc123": true, "a-b": true, "": false, "A": false, "a.b": false, "a/b": false, "-a": false, "a-": false, "ä": false, "a b": false,
	} {
		if got := isID(id); got != want {
			t.Errorf("%q: %v", id, got)
		}
	}
}
