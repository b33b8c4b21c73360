package informer

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// told is an Observer that records its calls.
type told struct {
	mu    sync.Mutex
	calls []string
}

func (o *told) note(call string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls = append(o.calls, call)
}

func (o *told) Stored(object client.Object, bytes int, damaged bool) {
	o.note(fmt.Sprintf("%s at %s: %d bytes, damaged %v", object.GetName(), object.GetResourceVersion(), bytes, damaged))
}
func (o *told) Deleted(object client.Object) { o.note(object.GetName() + " deleted") }
func (o *told) Missed()                      { o.note("missed") }

func (o *told) expect(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		o.mu.Lock()
		got = slices.Clone(o.calls)
		o.mu.Unlock()
		if slices.Equal(got, want) {
			return
		}
	}
	t.Fatalf("the observer was told %q, want %q", got, want)
}

// The observer has the events of orders that the cache does not hold too, and hears of each list. Bytes are left to it.
func TestAnObserverHasTheEventsOfAllOrders(t *testing.T) {
	finished := func(name string, version int) string {
		return strings.Replace(storedOrder("a", name, version, ""), `"state":"pending"`, `"state":"valid"`, 1)
	}
	observer := &told{}
	server := &apiServer{version: 1}
	f := followWith(t, server, Options{Orders: observer})
	f.expectCached(t, 1)
	observer.expect(t, "missed")
	one, done, bad := storedOrder("a", "one", 2, ""), finished("one", 3), storedOrder("a", "bad", 4, unreadableTime)
	server.send(t, "ADDED", one)
	server.send(t, "MODIFIED", done)
	server.send(t, "ADDED", bad)
	server.send(t, "MODIFIED", finished("other", 5))
	server.send(t, "DELETED", finished("other", 6))
	want := []string{
		"missed", fmt.Sprintf("one at 2: %d bytes, damaged false", len(one)), fmt.Sprintf("one at 3: %d bytes, damaged false", len(done)),
		fmt.Sprintf("bad at 4: %d bytes, damaged true", len(bad)), fmt.Sprintf("other at 5: %d bytes, damaged false", len(finished("other", 5))),
		"other deleted",
	}
	observer.expect(t, want...)
	if f.expectCached(t, 6); len(f.stored) != 0 {
		t.Errorf("the bytes of orders count twice: %v", f.stored)
	}
	server.send(t, "ERROR", `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410}`)
	observer.expect(t, append(want, "missed")...)
}
