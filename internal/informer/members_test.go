package informer

import (
	"reflect"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// The receiver of an event may change its object, as Compact does, while the decoder notes that it was delivered.
func TestDeletedOrdersLeaveByTheNameThatTheyCameWith(t *testing.T) {
	const events = `
{"type":"ADDED","object":{"apiVersion":"acmeca.dev/v1alpha1","kind":"AcmeOrder","metadata":{"namespace":"n","name":"o","uid":"u","resourceVersion":"1"}}}
{"type":"DELETED","object":{"apiVersion":"acmeca.dev/v1alpha1","kind":"AcmeOrder","metadata":{"namespace":"n","name":"o","uid":"u","resourceVersion":"2"}}}
{"type":"BOOKMARK","object":{"apiVersion":"acmeca.dev/v1alpha1","kind":"AcmeOrder","metadata":{"resourceVersion":"3"}}}
`
	d := &eventDecoder{
		text: jsontext.NewDecoder(strings.NewReader(events), envelope), kind: reflect.TypeFor[v1alpha1.AcmeOrder](),
		skipped: newTestSkipped("AcmeOrder"), sizes: newStoredSizes("AcmeOrder", nil), members: newMembers(),
	}
	for i, want := range []watch.EventType{watch.Added, watch.Deleted, watch.Bookmark} {
		kind, object, err := d.Decode()
		if kind != want || err != nil {
			t.Fatalf("event %d: %s, %v", i, kind, err)
		}
		if i == 0 && len(d.members.all()) != 1 {
			t.Fatalf("members: %v", d.members.all())
		}
		object.(*v1alpha1.AcmeOrder).Name = "changed by the receiver"
	}
	if left := d.members.all(); len(left) > 0 {
		t.Errorf("members after the deletion: %v", left)
	}
}

// An order that is read by name after a list is newer than the other orders of the list, until the watch has caught up.
func TestOrdersReadAfterAListAreAheadUntilTheWatchReachesThem(t *testing.T) {
	at := func(version string) *v1alpha1.AcmeOrder {
		order := &v1alpha1.AcmeOrder{}
		order.Namespace, order.Name, order.UID, order.ResourceVersion = "n", "o", "u", version
		return order
	}
	m := newMembers()
	i := evicting(nil, m).(evictor)
	m.replaceAll(1, &listing{version: "5", items: []runtime.Object{at("8")}})
	for _, step := range []struct {
		event                string
		aheadBefore, repeats bool
	}{{"7", true, true}, {"8", true, false}, {"9", false, false}} {
		if ahead := i.IsAhead(at("8")); ahead != step.aheadBefore {
			t.Errorf("before event %s, the order is ahead: %v", step.event, ahead)
		}
		if repeats := m.repeats(at(step.event)); repeats != step.repeats {
			t.Errorf("event %s is a repetition: %v", step.event, repeats)
		}
	}
	if m.replaceAll(2, &listing{version: "9", items: []runtime.Object{at("8")}}); i.IsAhead(at("8")) {
		t.Error("an order of the list is ahead of the list")
	}
}
