package ordercache

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// told records the events of an informer, and the types of their objects.
type told struct {
	mu     sync.Mutex
	events []string
}

func (l *told) note(what string, object any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if unknown, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		what, object = what+" unseen", unknown.Obj
	}
	order, ok := object.(*v1alpha1.AcmeOrder)
	if !ok {
		l.events = append(l.events, fmt.Sprintf("%s of a %T", what, object))
		return
	}
	l.events = append(l.events, fmt.Sprintf("%s %s, which is %s", what, order.Name, order.Status.State))
}

func (l *told) saw(event string) func() bool {
	return func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return slices.Contains(l.events, event)
	}
}

func (l *told) OnAdd(object any, _ bool)    { l.note("added", object) }
func (l *told) OnUpdate(before, object any) { l.note("before", before); l.note("updated", object) }
func (l *told) OnDelete(object any)         { l.note("deleted", object) }

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !condition() {
		select {
		case <-ctx.Done():
			t.Fatal("not", what)
		case <-time.After(time.Millisecond):
		}
	}
}

func TestAnInformerHoldsFinishedOrdersPacked(t *testing.T) {
	pending := finished("pending")
	pending.Status.State = acme.StatePending
	events := watch.NewFake()
	lw := &toolscache.ListWatch{
		ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
			return &v1alpha1.AcmeOrderList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}, Items: []v1alpha1.AcmeOrder{*finished("finished"), *pending}}, nil
		},
		WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) { return events, nil },
	}
	var held toolscache.SharedIndexInformer
	newInformer := Packing(func(lw toolscache.ListerWatcher, kind runtime.Object, resync time.Duration, indexers toolscache.Indexers) toolscache.SharedIndexInformer {
		held = toolscache.NewSharedIndexInformer(lw, kind, resync, indexers)
		return held
	})
	informer := newInformer(notWatchList{lw}, &v1alpha1.AcmeOrder{}, 0, toolscache.Indexers{toolscache.NamespaceIndex: toolscache.MetaNamespaceIndexFunc})
	byName := func(object any) ([]string, error) {
		var names []string
		for _, id := range object.(*v1alpha1.AcmeOrder).Spec.Identifiers {
			names = append(names, id.Value)
		}
		return names, nil
	}
	bySerial := func(object any) ([]string, error) { return []string{object.(*v1alpha1.AcmeOrder).Status.Serial}, nil }
	seen := &told{}
	_, handlerErr := informer.AddEventHandler(seen)
	for _, err := range []error{
		informer.SetTransform(func(object any) (any, error) { Compact(object.(*v1alpha1.AcmeOrder)); return object, nil }),
		informer.AddIndexers(toolscache.Indexers{"name": byName}), informer.AddIndexers(toolscache.Indexers{"serial": bySerial}), handlerErr,
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { informer.RunWithContext(ctx); close(done) }()
	defer func() { cancel(); <-done }()
	eventually(t, "synced", informer.HasSynced)
	isPacked := func(name string) bool {
		object, _, _ := held.GetIndexer().GetByKey("team-a/" + name)
		_, is := object.(*packed)
		return is
	}
	if !isPacked("finished") || isPacked("pending") {
		t.Error("held are", held.GetIndexer().List())
	}
	want := finished("finished")
	check := func(how string, objects []any, err error) {
		t.Helper()
		if err != nil || len(objects) == 0 {
			t.Fatal(how, objects, err)
		}
		for _, object := range objects {
			order, ok := object.(*v1alpha1.AcmeOrder)
			if !ok || order.Name == "finished" && !cmp.Equal(order, want) {
				t.Errorf("%s gives %T: %s", how, object, cmp.Diff(order, want))
			}
		}
	}
	object, _, err := informer.GetIndexer().GetByKey("team-a/finished")
	check("GetByKey", []any{object}, err)
	object, _, err = informer.GetStore().Get(want)
	check("Get", []any{object}, err)
	check("List", informer.GetStore().List(), nil)
	for index, value := range map[string]string{toolscache.NamespaceIndex: "team-a", "name": "a.test", "serial": want.Status.Serial} {
		objects, err := informer.GetIndexer().ByIndex(index, value)
		check("ByIndex "+index, objects, err)
		objects, err = informer.GetIndexer().Index(index, want)
		check("Index "+index, objects, err)
		if len(objects) != 2 {
			t.Errorf("index %s has %d orders", index, len(objects))
		}
	}
	eventually(t, "told of a finished order", seen.saw("added finished, which is valid"))

	now := pending.DeepCopy()
	now.ResourceVersion, now.Status.State = "4712", acme.StateValid
	events.Modify(now)
	eventually(t, "told that the order is finished", seen.saw("updated pending, which is valid"))
	if !isPacked("pending") {
		t.Error("an order that has been finished isn't packed")
	}
	events.Delete(finished("finished"))
	eventually(t, "told that an order is gone", seen.saw("deleted finished, which is valid"))
	if objects, err := informer.GetIndexer().ByIndex("serial", want.Status.Serial); len(objects) != 1 || err != nil {
		t.Errorf("left are %v, %v", objects, err)
	}
	handler{seen}.OnDelete(toolscache.DeletedFinalStateUnknown{Key: "team-a/late", Obj: pack(finished("late"))})
	if !seen.saw("deleted unseen late, which is valid")() {
		t.Error("of an order whose end wasn't seen is told", seen.events)
	}
}

// notWatchList makes an informer list before it watches.
type notWatchList struct{ *toolscache.ListWatch }

func (notWatchList) IsWatchListSemanticsUnSupported() bool { return true }

func TestOtherInformersAreLeft(t *testing.T) {
	var made toolscache.SharedIndexInformer
	inner := func(lw toolscache.ListerWatcher, kind runtime.Object, resync time.Duration, indexers toolscache.Indexers) toolscache.SharedIndexInformer {
		made = toolscache.NewSharedIndexInformer(lw, kind, resync, indexers)
		return made
	}
	if got := Packing(inner)(&toolscache.ListWatch{}, &v1alpha1.AcmeAccount{}, 0, nil); got != made {
		t.Errorf("it is %T", got)
	}
}
