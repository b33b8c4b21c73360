package informer

import (
	"maps"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// expectStored compares the counted bytes with the objects that the API server has.
func (f *follower) expectStored(t *testing.T, objects ...string) {
	t.Helper()
	want := map[types.NamespacedName]int64{}
	for _, object := range objects {
		namespace, issuer := "a", "default"
		if strings.Contains(object, `"namespace":"b"`) {
			namespace = "b"
		}
		if strings.Contains(object, `"issuerRef":{"name":"other"}`) {
			issuer = "other"
		}
		want[types.NamespacedName{Namespace: namespace, Name: issuer}] += int64(len(object))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !maps.Equal(f.stored, want) {
		t.Errorf("counted %v, want %v", f.stored, want)
	}
}

// The bytes of an issuer are those of its objects as they are stored now: after lists, changes, deletions, events that come twice and
// watches that break. An object that can't be decoded uses bytes too.
func TestStoredSizes(t *testing.T) {
	one, bad := storedOrder("a", "one", 1, ""), storedOrder("b", "bad", 2, unreadableTime)
	server := &apiServer{version: 2, orders: []string{one, bad}}
	f := follow(t, server)
	f.expect(t, 2, 1, "a/one")
	f.expectStored(t, one, bad)

	longer := storedOrder("a", "one", 3, "2026-01-01T00:00:00Z")
	server.send(t, "MODIFIED", longer)
	f.expect(t, 3, 1, "a/one")
	f.expectStored(t, longer, bad)
	two := storedOrder("b", "two", 4, "")
	server.send(t, "ADDED", two)
	server.send(t, "MODIFIED", storedOrder("a", "one", 5, unreadableTime))
	f.expect(t, 5, 2, "b/two")
	f.expectStored(t, storedOrder("a", "one", 5, unreadableTime), bad, two)
	server.send(t, "", "") // the watch ends, and the next one repeats an event
	server.send(t, "MODIFIED", storedOrder("a", "one", 5, unreadableTime))
	server.send(t, "DELETED", bad)
	server.send(t, "DELETED", storedOrder("a", "one", 7, unreadableTime))
	server.send(t, "MODIFIED", storedOrder("b", "two", 8, ""))
	f.expect(t, 8, 0, "b/two")
	f.expectStored(t, two)

	other := strings.Replace(storedOrder("a", "three", 9, unreadableTime), `{"name":"default"}`, `{"name":"other"}`, 1)
	server.mu.Lock()
	server.orders, server.version = []string{other}, 9
	server.mu.Unlock()
	server.send(t, "ERROR", `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410}`)
	f.expect(t, 9, 1)
	f.expectStored(t, other)
}

// A watch that was replaced by a list changes nothing.
func TestAnEarlierWatchCountsNothing(t *testing.T) {
	f := &follower{stored: map[types.NamespacedName]int64{}}
	s := newStoredSizes("AcmeOrder", f.count)
	table := newSizeTable()
	s.replaceAll(1, &table)
	s.set(0, &v1alpha1.AcmeOrder{}, 7)
	f.expectStored(t)
	s.set(1, &v1alpha1.AcmeOrder{}, 7)
	s.set(1, &v1alpha1.AcmeOrder{}, 0)
	f.expectStored(t)
	if len(s.sizes)+len(s.byIssuer) > 0 {
		t.Error("deleted objects stay in memory")
	}
}
