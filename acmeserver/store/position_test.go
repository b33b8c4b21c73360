package store

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// requireOrders is the context of a request whose client was shown orders up to a version by another replica.
func requireOrders(t *testing.T, version uint64) context.Context {
	return context.WithValue(t.Context(), requiredKey{}, Positions{orders: version})
}

func TestARequestWaitsUntilTheCacheIsAsNewAsAnotherReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, cached, live := newTestObjects()
		old := orderAt("5", acme.StatePending)
		cached.put(old)
		s.observed(old)
		shown := make(chan string)
		go func() {
			order, err := s.Get(requireOrders(t, 7), orderKey)
			if err != nil {
				t.Error(err)
			}
			shown <- order.ResourceVersion
		}()
		synctest.Wait()
		select {
		case version := <-shown:
			t.Fatalf("it was shown version %s", version)
		default:
		}
		fresh := orderAt("7", acme.StateValid)
		cached.put(fresh)
		s.observed(fresh)
		if version := <-shown; version != "7" || live.reads != 0 {
			t.Errorf("it was shown version %s after %d reads past the cache", version, live.reads)
		}
	})
}

func TestARequestDoesNotWaitForOtherKinds(t *testing.T) {
	s, cached, live := newTestObjects()
	old := orderAt("5", acme.StatePending)
	cached.put(old)
	s.observed(old)
	ctx := context.WithValue(t.Context(), requiredKey{}, Positions{100, 5, 100})
	if order, err := s.Get(ctx, orderKey); err != nil || order.ResourceVersion != "5" || live.reads != 0 {
		t.Errorf("%v, %v, %d reads", order, err, live.reads)
	}
}

// watched is an informer whose watch has reached a version.
type watched string

func (w watched) LastSyncResourceVersion() string { return string(w) }

func TestACacheThatStaysBehindIsReadPast(t *testing.T) {
	for name, informer := range map[string]versioned{"the watch is behind too": watched("6"), "nothing is known of the watch": nil} {
		synctest.Test(t, func(t *testing.T) {
			s, cached, live := newTestObjects()
			s.position.informer = informer
			cached.put(orderAt("5", acme.StatePending))
			live.put(orderAt("7", acme.StateValid))
			began := time.Now()
			if order, err := s.Get(requireOrders(t, 7), orderKey); err != nil || order.ResourceVersion != "7" {
				t.Errorf("%s: %v, %v", name, order, err)
			}
			if waited := time.Since(began); waited != cacheTimeout {
				t.Errorf("%s: it waited for %s", name, waited)
			}
		})
	}
}

// No event tells of objects that were removed before a replica started: the newest version in its events may be older than
// the one that another replica has seen.
func TestAWatchThatIsNewEnoughIsWaitedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, cached, live := newTestObjects()
		s.position.informer = watched("9")
		cached.put(orderAt("5", acme.StatePending))
		for range 2 {
			if order, err := s.Get(requireOrders(t, 8), orderKey); err != nil || order.ResourceVersion != "5" || live.reads != 0 {
				t.Errorf("%v, %v, %d reads past the cache", order, err, live.reads)
			}
		}
		began := time.Now()
		if !s.upToDate(requireOrders(t, 9)) || time.Since(began) != 0 {
			t.Error("it is waited for again")
		}
	})
}

// ahead is an informer that has read an object at a version ahead of the others.
type ahead struct {
	watched
	version string
}

func (a ahead) IsAhead(object client.Object) bool { return object.GetResourceVersion() == a.version }

// After a lost watch, the informer reads some objects after the list. The events of the others come later.
func TestAnObjectThatIsReadAheadOfTheOthersDoesNotCount(t *testing.T) {
	s, cached, _ := newTestObjects()
	s.position.informer = ahead{"5", "9"}
	for _, version := range []string{"4", "9"} {
		order := orderAt(version, acme.StatePending)
		cached.put(order)
		s.observed(order)
	}
	if newest := s.position.newest(); newest != 4 {
		t.Errorf("the cache counts as new as %d", newest)
	}
	order := orderAt("10", acme.StatePending)
	s.observed(order)
	if newest := s.position.newest(); newest != 10 {
		t.Errorf("after the next event, the cache counts as new as %d", newest)
	}
}

func newTestStore() (s *Store, cached *shelf) {
	s = &Store{Accounts: &Objects[*v1alpha1.AcmeAccount]{}, Authorizations: &Objects[*v1alpha1.AcmeAuthorization]{}}
	s.Orders, cached, _ = newTestObjects()
	return s, cached
}

// The first request after one to another replica may read other kinds than the next one, whose nonce is this replica's own.
func TestAnOwnNoncePassesOnPositionsOfAnotherReplica(t *testing.T) {
	s, _ := newTestStore()
	requires := func(shown Positions, own bool) (p Positions) {
		ctx, passed := s.Follow(t.Context(), shown, own)
		for k := range kinds {
			p[k] = required(ctx, k)
		}
		if passed != p {
			t.Errorf("requires %v, and says %v", p, passed)
		}
		return p
	}
	// This replica waits for none of its own writes.
	s.Orders.position.noteWritten(orderAt("8", acme.StatePending))
	if got := requires(s.Positions(Positions{}), true); got != (Positions{}) {
		t.Errorf("its own nonce requires %v", got)
	}
	if got := requires(Positions{3, 5, 9}, false); got != (Positions{3, 5, 9}) {
		t.Errorf("another replica's nonce requires %v", got)
	}
	if got := requires(s.Positions(Positions{3, 5, 9}), true); got != (Positions{3, 5, 9}) {
		t.Errorf("its own nonce after that requires %v", got)
	}
}

func TestPositionsAreTheNewestWrittenCachedOrShown(t *testing.T) {
	s, _ := newTestStore()
	s.Orders.position.noteWritten(orderAt("8", acme.StatePending))
	s.Orders.position.noteCached(orderAt("6", acme.StatePending))
	if got := s.Positions(Positions{3, 7, 9}); got != (Positions{3, 8, 9}) {
		t.Errorf("%v", got)
	}
}
