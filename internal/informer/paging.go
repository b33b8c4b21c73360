package informer

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

// pageSize is the number of objects in a page. The API server counts the remaining objects for each page.
const pageSize = 5000

// newInformer returns an informer that starts from lists in pages instead of a watch that sends every object as an event. The API
// server then encodes an object once instead of twice, and unneeded parts of a page are freed before the next page is read.
func newInformer(
	lw toolscache.ListerWatcher, kind runtime.Object, resync time.Duration, indexers toolscache.Indexers, gauge *skippedGauge, from *Informers,
) toolscache.SharedIndexInformer {
	name := reflect.TypeOf(kind).Elem().Name()
	p := &paged{
		ListerWatcherWithContext: toolscache.ToListerWatcherWithContext(lw), kind: kind, from: from,
		skipped: newSkippedObjects(context.Background(), name, gauge), sizes: from.newSizes(name),
	}
	p.informer = toolscache.NewSharedIndexInformer(p, kind, resync, indexers)
	from.history.follow(p)
	if _, ok := kind.(*v1alpha1.AcmeOrder); ok && from.Orders != nil {
		p.members = newMembers()
		return evicting(p.informer, p.members)
	}
	return p.informer
}

// paged is a lister and watcher that lists in pages, and leaves out the objects that can't be decoded.
type paged struct {
	toolscache.ListerWatcherWithContext
	kind    runtime.Object
	skipped *skippedObjects
	sizes   *storedSizes
	from    *Informers
	// members is nil if the cache holds all objects.
	members  *members
	informer toolscache.SharedIndexInformer
	// lists is the number of lists so far, and listed means that no watch has started since the last one.
	lists  int
	listed bool
}

// IsWatchListSemanticsUnSupported makes reflectors list before they watch.
func (p *paged) IsWatchListSemanticsUnSupported() bool { return true }

// List implements toolscache.ListerWatcher.
func (p *paged) List(o metav1.ListOptions) (runtime.Object, error) {
	return p.ListWithContext(context.Background(), o)
}

// Watch implements toolscache.ListerWatcher.
func (p *paged) Watch(o metav1.ListOptions) (watch.Interface, error) {
	return p.WatchWithContext(context.Background(), o)
}

// WatchWithContext implements toolscache.ListerWatcherWithContext. A watch that goes on from an earlier one is refused if the history
// went back meanwhile.
func (p *paged) WatchWithContext(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	if !p.listed {
		if err := p.probe(ctx); err != nil {
			return nil, err
		}
	}
	p.listed = false
	e := &events{skipped: p.skipped, sizes: p.sizes, members: p.members, list: p.lists, version: o.ResourceVersion}
	return e.read(ctx, p.kind, func(ctx context.Context) (watch.Interface, error) {
		return p.ListerWatcherWithContext.WatchWithContext(ctx, o)
	})
}

// probe checks the history of the objects by a list of one object.
func (p *paged) probe(ctx context.Context) error {
	reached := p.informer.LastSyncResourceVersion()
	list, _, err := readPage(ctx, p.kind, nil, func(ctx context.Context) (runtime.Object, error) {
		return p.ListerWatcherWithContext.ListWithContext(ctx, metav1.ListOptions{Limit: 1})
	})
	if err != nil {
		return err
	}
	at, err := meta.ListAccessor(list)
	if err != nil {
		return err
	}
	return p.from.history.check(p.kind, reached, at.GetResourceVersion())
}

// listing is the content of a list.
type listing struct {
	items   []runtime.Object
	skipped []skippedObject
	sizes   *sizeTable // nil if nobody counts them
	version string
}

// ListWithContext implements toolscache.ListerWatcherWithContext. It returns all objects at one resourceVersion. If that version expires
// before all pages are read, it reads all objects in one answer.
func (p *paged) ListWithContext(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	reached := p.informer.LastSyncResourceVersion()
	// Pages need a list without a version, which is as of now: with version 0 the API server ignores the limit.
	o.ResourceVersion, o.ResourceVersionMatch, o.Limit = "", "", pageSize
	l, err := p.read(ctx, o)
	if apierrors.IsResourceExpired(err) {
		o.Limit = 0
		l, err = p.read(ctx, o)
	}
	if err != nil {
		return nil, err
	}
	if err := p.from.history.check(p.kind, reached, l.version); err != nil {
		return nil, err
	}
	p.lists++
	p.listed = true
	p.skipped.replaceAll(p.lists, l.skipped)
	p.sizes.relisted()
	if p.members != nil {
		p.members.replaceAll(p.lists, l)
	}
	if l.sizes != nil {
		p.sizes.replaceAll(p.lists, l.sizes)
	}
	return &internalversion.List{ListMeta: metav1.ListMeta{ResourceVersion: l.version}, Items: l.items}, nil
}

func (p *paged) read(ctx context.Context, o metav1.ListOptions) (*listing, error) {
	if p.members != nil {
		return p.readSelected(ctx, o)
	}
	l := &listing{sizes: p.newSizes()}
	return l, p.readPages(ctx, o, l)
}

// readPages reads a list into l.
func (p *paged) readPages(ctx context.Context, o metav1.ListOptions, l *listing) error {
	for {
		list, skipped, err := readPage(ctx, p.kind, l.sizes, func(ctx context.Context) (runtime.Object, error) {
			return p.ListerWatcherWithContext.ListWithContext(ctx, o)
		})
		if err != nil {
			return err
		}
		l.skipped = append(l.skipped, skipped...)
		at, err := meta.ListAccessor(list)
		if err != nil {
			return err
		}
		l.version = at.GetResourceVersion()
		if err := meta.EachListItem(list, func(item runtime.Object) error {
			l.items = append(l.items, alone(item))
			return nil
		}); err != nil {
			return err
		}
		if o.Continue = at.GetContinue(); o.Continue == "" {
			return nil
		}
	}
}

// newSizes returns an empty table for the sizes of a list, or nil if nobody counts them.
func (p *paged) newSizes() *sizeTable {
	if p.sizes.count == nil {
		return nil
	}
	table := newSizeTable()
	return &table
}

// alone copies an object out of its page, which would otherwise stay in memory as long as any of its objects. It also drops the parts of
// an order that no cache keeps.
func alone(item runtime.Object) runtime.Object {
	if order, ok := item.(*v1alpha1.AcmeOrder); ok {
		ordercache.Compact(order)
	}
	value := reflect.New(reflect.TypeOf(item).Elem())
	value.Elem().Set(reflect.ValueOf(item).Elem())
	return value.Interface().(runtime.Object)
}
