package main

import (
	"context"
	"reflect"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/ordercache"
)

// pageSize is how many objects of a kind are asked for at once. With each page the API server counts those that come after it.
const pageSize = 5000

// newPagedInformer makes an informer that starts from lists in pages, in place of a watch that is sent every object as an event:
// the API server encodes an object once and not twice, and what isn't kept of a page is dropped before the next one comes.
func newPagedInformer(lw toolscache.ListerWatcher, kind runtime.Object, resync time.Duration, indexers toolscache.Indexers) toolscache.SharedIndexInformer {
	return toolscache.NewSharedIndexInformer(&paged{toolscache.ToListerWatcherWithContext(lw), kind}, kind, resync, indexers)
}

// paged lists in pages.
type paged struct {
	toolscache.ListerWatcherWithContext
	kind runtime.Object
}

// IsWatchListSemanticsUnSupported has reflectors list before they watch.
func (p *paged) IsWatchListSemanticsUnSupported() bool { return true }

// List implements toolscache.ListerWatcher.
func (p *paged) List(o metav1.ListOptions) (runtime.Object, error) {
	return p.ListWithContext(context.Background(), o)
}

// Watch implements toolscache.ListerWatcher.
func (p *paged) Watch(o metav1.ListOptions) (watch.Interface, error) {
	return p.WatchWithContext(context.Background(), o)
}

// WatchWithContext gives the events of a watch.
func (p *paged) WatchWithContext(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	return readEvents(ctx, p.kind, func(ctx context.Context) (watch.Interface, error) {
		return p.ListerWatcherWithContext.WatchWithContext(ctx, o)
	})
}

// ListWithContext gives all objects as they are at one moment. Where that has gone by before all pages were read, it reads
// them in one answer.
func (p *paged) ListWithContext(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	all := &internalversion.List{}
	// Without a version the API server answers as of now, which pages need: with version 0 it ignores the limit.
	o.ResourceVersion, o.ResourceVersionMatch, o.Limit = "", "", pageSize
	for {
		list, err := readPage(ctx, p.kind, func(ctx context.Context) (runtime.Object, error) {
			return p.ListerWatcherWithContext.ListWithContext(ctx, o)
		})
		if apierrors.IsResourceExpired(err) && o.Continue != "" {
			all.Items, o.Limit, o.Continue = nil, 0, ""
			continue
		}
		if err != nil {
			return nil, err
		}
		at, err := meta.ListAccessor(list)
		if err != nil {
			return nil, err
		}
		all.ResourceVersion = at.GetResourceVersion()
		if err := meta.EachListItem(list, func(item runtime.Object) error {
			all.Items = append(all.Items, alone(item))
			return nil
		}); err != nil {
			return nil, err
		}
		if o.Continue = at.GetContinue(); o.Continue == "" {
			return all, nil
		}
	}
}

// alone takes an object out of its page, which would be held in memory as long as any object of it is, and drops what no cache
// keeps of an order.
func alone(item runtime.Object) runtime.Object {
	if order, ok := item.(*v1alpha1.AcmeOrder); ok {
		ordercache.Compact(order)
	}
	value := reflect.New(reflect.TypeOf(item).Elem())
	value.Elem().Set(reflect.ValueOf(item).Elem())
	return value.Interface().(runtime.Object)
}
