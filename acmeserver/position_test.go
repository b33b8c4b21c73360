package acmeserver

import (
	"context"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/acmeca/acmeca/acmeserver/nonce"
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// wantOrders is the context of a request whose client was shown orders up to a version elsewhere.
func wantOrders(t *testing.T, version uint64) context.Context {
	return context.WithValue(t.Context(), positionsKey{}, positions{1: version})
}

func TestPositionsFitIntoANote(t *testing.T) {
	p := positions{1, 1 << 40, 3}
	if got := positionsIn(p.note()); got != p {
		t.Errorf("%v becomes %v", p, got)
	}
	if len(followedKinds) != len(p) {
		t.Error("kinds and positions differ in number")
	}
}

func TestARequestWaitsUntilTheCacheIsAsFarAsAnotherReplicaWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, cached, live := newTestStore()
		old := orderAt("5", acme.StatePending)
		cached.put(old)
		s.observed(old)
		shown := make(chan string)
		go func() {
			order, err := s.Get(wantOrders(t, 7), orderKey)
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

func TestARequestDoesNotWaitForWhatOtherKindsHaveComeTo(t *testing.T) {
	s, cached, live := newTestStore()
	old := orderAt("5", acme.StatePending)
	cached.put(old)
	s.observed(old)
	ctx := context.WithValue(t.Context(), positionsKey{}, positions{100, 5, 100})
	if order, err := s.Get(ctx, orderKey); err != nil || order.ResourceVersion != "5" || live.reads != 0 {
		t.Errorf("%v, %v, %d reads", order, err, live.reads)
	}
}

// watched is an informer that is as far as it says.
type watched string

func (w watched) LastSyncResourceVersion() string { return string(w) }

func TestACacheThatStaysBehindIsNotReliedOn(t *testing.T) {
	for name, informer := range map[string]versioned{"the watch is behind too": watched("6"), "nothing is known of the watch": nil} {
		synctest.Test(t, func(t *testing.T) {
			s, cached, live := newTestStore()
			s.position.informer = informer
			cached.put(orderAt("5", acme.StatePending))
			live.put(orderAt("7", acme.StateValid))
			began := time.Now()
			if order, err := s.Get(wantOrders(t, 7), orderKey); err != nil || order.ResourceVersion != "7" {
				t.Errorf("%s: %v, %v", name, order, err)
			}
			if waited := time.Since(began); waited != awaitPosition {
				t.Errorf("%s: it waited for %s", name, waited)
			}
		})
	}
}

// What was removed before a replica started is news to nobody: the newest that its cache tells of may be older than what
// another one has seen.
func TestAWatchThatIsAsFarIsWaitedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, cached, live := newTestStore()
		s.position.informer = watched("9")
		cached.put(orderAt("5", acme.StatePending))
		for range 2 {
			if order, err := s.Get(wantOrders(t, 8), orderKey); err != nil || order.ResourceVersion != "5" || live.reads != 0 {
				t.Errorf("%v, %v, %d reads past the cache", order, err, live.reads)
			}
		}
		began := time.Now()
		if !s.position.reach(wantOrders(t, 9), "order") || time.Since(began) != 0 {
			t.Error("it is waited for again")
		}
	})
}

// The first request after one to another replica may read other kinds than the next one, whose nonce is this replica's own.
func TestAnOwnNoncePassesOnWhatAnotherReplicaShowed(t *testing.T) {
	here, there := serverWithStores(), serverWithStores()
	keys := nonce.NewKeys()
	if err := keys.Set(make([]byte, 32)); err != nil {
		t.Fatal(err)
	}
	var err error
	for _, s := range []*Server{here, there} {
		if s.nonces, err = nonce.NewSource(keys, "192.0.2.1:1", time.Now); err != nil {
			t.Fatal(err)
		}
	}
	wants := func(text string) positions {
		t.Helper()
		n, err := here.nonces.Open(text)
		if err != nil {
			t.Fatal(err)
		}
		c := &call{Request: httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)}
		here.follow(c, n)
		p := positions{}
		for i, kind := range followedKinds {
			p[i] = wanted(c.Context(), kind)
		}
		return p
	}
	// On its own writes this replica waits for nothing.
	here.orders.position.wrote(orderAt("8", acme.StatePending))
	own := here.newNonceFor(&call{})
	if got := wants(own); got != (positions{}) {
		t.Errorf("its own nonce wants %v", got)
	}
	foreign := there.nonces.New(positions{3, 5, 9}.note())
	if got := wants(foreign); got != (positions{3, 5, 9}) {
		t.Errorf("another's nonce wants %v", got)
	}
	next := here.newNonceFor(&call{shown: positions{3, 5, 9}})
	if got := wants(next); got != (positions{3, 5, 9}) {
		t.Errorf("the own nonce after that wants %v", got)
	}
}

// Who has a certificate from another replica can revoke it, or ask about it, at this one at once.
func TestACertificateThatAnotherReplicaShowedIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serverWithStores()
		var cached *shelf
		s.orders, cached, _ = newTestStore()
		c := &call{issuer: &issuer{key: types.NamespacedName{Namespace: orderKey.Namespace, Name: "ca"}}}
		find := func() (*v1alpha1.AcmeOrder, error) {
			c.Request = httptest.NewRequestWithContext(wantOrders(t, 7), http.MethodPost, "/", nil)
			return s.orderWithSerial(c, big.NewInt(0xabc))
		}
		if order, err := find(); order != nil || err == nil || problemOf(t.Context(), err).Status != http.StatusServiceUnavailable {
			t.Errorf("where the cache stays behind: %v, %v", order, err)
		}
		found := make(chan *v1alpha1.AcmeOrder)
		go func() {
			order, err := find()
			if err != nil {
				t.Error(err)
			}
			found <- order
		}()
		synctest.Wait()
		fresh := orderAt("7", acme.StateValid)
		fresh.Spec.IssuerRef.Name, fresh.Status.Serial = "ca", v1alpha1.SerialText(big.NewInt(0xabc))
		cached.put(fresh)
		s.serials.Handler().OnAdd(fresh, false)
		s.orders.observed(fresh)
		if order := <-found; order == nil {
			t.Error("it isn't found")
		}
	})
}

func TestANonceTellsWhatWasWrittenAndWhatWasShownBefore(t *testing.T) {
	s := serverWithStores()
	s.orders.position.wrote(orderAt("8", acme.StatePending))
	s.orders.position.cameTo(orderAt("6", acme.StatePending))
	var err error
	if s.nonces, err = nonce.NewSource(nonce.NewKeys(), "", time.Now); err != nil {
		t.Fatal(err)
	}
	n, err := s.nonces.Open(s.newNonceFor(&call{shown: positions{3, 7, 9}}))
	if err != nil || positionsIn(n.Note) != (positions{3, 8, 9}) {
		t.Errorf("%v, %v", positionsIn(n.Note), err)
	}
}
