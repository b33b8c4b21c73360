package ordercache

import (
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// NewInformer makes an informer. It has the type of NewInformer in sigs.k8s.io/controller-runtime/pkg/cache.Options.
type NewInformer func(toolscache.ListerWatcher, runtime.Object, time.Duration, toolscache.Indexers) toolscache.SharedIndexInformer

// Packing wraps inner so that the informer of orders holds finished orders packed. Other informers are unchanged.
func Packing(inner NewInformer) NewInformer {
	return func(
		lw toolscache.ListerWatcher, kind runtime.Object, resync time.Duration, indexers toolscache.Indexers,
	) toolscache.SharedIndexInformer {
		if _, ok := kind.(*v1alpha1.AcmeOrder); !ok {
			return inner(lw, kind, resync, indexers)
		}
		i := &informer{}
		i.SharedIndexInformer = WrapHandlers(inner(lw, kind, resync, i.unpacking(indexers)),
			func(h toolscache.ResourceEventHandler) toolscache.ResourceEventHandler { return handler{h} })
		return i
	}
}

// unpacked returns the ordinary order if object is packed, and otherwise object.
func unpacked(object any) any {
	switch object := object.(type) {
	case *packed:
		return object.order()
	case toolscache.DeletedFinalStateUnknown:
		object.Obj = unpacked(object.Obj)
		return object
	}
	return object
}

// informer packs orders when they are stored, and unpacks them for readers and handlers.
type informer struct {
	toolscache.SharedIndexInformer
	// indexed is the order that was unpacked last for an indexer. All indexers are called for one order before the next.
	indexed atomic.Pointer[indexed]
}

type indexed struct {
	packed *packed
	order  *v1alpha1.AcmeOrder
}

// SetTransform implements toolscache.SharedInformer.
func (i *informer) SetTransform(transform toolscache.TransformFunc) error {
	return i.SharedIndexInformer.SetTransform(func(object any) (any, error) {
		object, err := transform(object)
		if order, ok := object.(*v1alpha1.AcmeOrder); ok && err == nil {
			if p := pack(order); p != nil {
				return p, nil
			}
		}
		return object, err
	})
}

func (i *informer) unpacking(indexers toolscache.Indexers) toolscache.Indexers {
	wrapped := toolscache.Indexers{}
	for name, index := range indexers {
		wrapped[name] = func(object any) ([]string, error) {
			if p, ok := object.(*packed); ok {
				object = i.orderToIndex(p)
			}
			return index(object)
		}
	}
	return wrapped
}

// orderToIndex unpacks an order for an indexer, which must not change it.
func (i *informer) orderToIndex(p *packed) *v1alpha1.AcmeOrder {
	if last := i.indexed.Load(); last != nil && last.packed == p {
		return last.order
	}
	order := p.order()
	i.indexed.Store(&indexed{p, order})
	return order
}

// AddIndexers implements toolscache.SharedIndexInformer.
func (i *informer) AddIndexers(indexers toolscache.Indexers) error {
	return i.SharedIndexInformer.AddIndexers(i.unpacking(indexers))
}

// GetStore implements toolscache.SharedInformer.
func (i *informer) GetStore() toolscache.Store { return i.GetIndexer() }

// GetIndexer implements toolscache.SharedIndexInformer.
func (i *informer) GetIndexer() toolscache.Indexer {
	return &indexer{i.SharedIndexInformer.GetIndexer()}
}

// handler unpacks the orders of events.
type handler struct {
	inner toolscache.ResourceEventHandler
}

// OnAdd implements toolscache.ResourceEventHandler.
func (h handler) OnAdd(object any, initial bool) { h.inner.OnAdd(unpacked(object), initial) }

// OnUpdate implements toolscache.ResourceEventHandler.
func (h handler) OnUpdate(before, object any) { h.inner.OnUpdate(unpacked(before), unpacked(object)) }

// OnDelete implements toolscache.ResourceEventHandler.
func (h handler) OnDelete(object any) { h.inner.OnDelete(unpacked(object)) }

// indexer unpacks the orders that it returns.
type indexer struct{ toolscache.Indexer }

func allUnpacked(objects []any) []any {
	for i := range objects {
		objects[i] = unpacked(objects[i])
	}
	return objects
}

// List implements toolscache.Store.
func (i *indexer) List() []any { return allUnpacked(i.Indexer.List()) }

// Get implements toolscache.Store.
func (i *indexer) Get(like any) (object any, exists bool, err error) {
	object, exists, err = i.Indexer.Get(like)
	return unpacked(object), exists, err
}

// GetByKey implements toolscache.Store.
func (i *indexer) GetByKey(key string) (object any, exists bool, err error) {
	object, exists, err = i.Indexer.GetByKey(key)
	return unpacked(object), exists, err
}

// Index implements toolscache.Indexer.
func (i *indexer) Index(name string, like any) ([]any, error) {
	objects, err := i.Indexer.Index(name, like)
	return allUnpacked(objects), err
}

// ByIndex implements toolscache.Indexer.
func (i *indexer) ByIndex(name, value string) ([]any, error) {
	objects, err := i.Indexer.ByIndex(name, value)
	return allUnpacked(objects), err
}
