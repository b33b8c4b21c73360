package informer

import (
	"context"
	"reflect"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/ordercache"
)

// Options of Informers.
type Options struct {
	// Count is told how many bytes are stored; nil to count none.
	Count CountBytes
	// Orders is told of all stored orders, whose bytes Count is then not told of. The caches then hold only some of them
	// (ordercache.Holds): unfinished ones, and those with a requested revocation. Event handlers hear of changes of all orders. The
	// informers read with the client of NewClient. nil makes the caches hold all orders.
	Orders Observer
}

// Informers makes the informers of a component, and the client that writes the objects.
type Informers struct {
	Options
	history history

	mu   sync.Mutex
	live client.Reader // reads past every cache
}

// New returns Informers that have made no informer yet.
func New(o Options) *Informers {
	return &Informers{Options: o, history: history{informers: map[reflect.Type][]*paged{}, lost: make(chan struct{})}}
}

// CacheOptions returns the options of a cache of some namespaces; none for all. The cache drops the fields that neither half reads from
// a cache.
func (i *Informers) CacheOptions(namespaces ...string) cache.Options {
	o := cache.Options{
		NewInformer:      i.NewInformer,
		DefaultTransform: stripManagedFields,
		ByObject: map[client.Object]cache.ByObject{
			&v1alpha1.AcmeOrder{}: {Transform: compact}, &v1alpha1.AcmeAuthorization{}: {Transform: dropHandled},
			&v1alpha1.AcmeAccount{}: {Transform: dropHandled},
		},
	}
	if len(namespaces) > 0 {
		o.DefaultNamespaces = map[string]cache.Config{}
	}
	for _, namespace := range namespaces {
		o.DefaultNamespaces[namespace] = cache.Config{}
	}
	return o
}

var stripManagedFields = cache.TransformStripManagedFields()

// compact is a cache transform of orders.
func compact(object any) (any, error) {
	if order, ok := object.(*v1alpha1.AcmeOrder); ok {
		ordercache.Compact(order)
	}
	return object, nil
}

// dropHandled is a cache transform of authorizations and accounts.
func dropHandled(object any) (any, error) {
	ordercache.DropHandled(object)
	return stripManagedFields(object)
}

// NewInformer is a cache.Options.NewInformer.
func (i *Informers) NewInformer(
	lw toolscache.ListerWatcher, kind runtime.Object, resync time.Duration, indexers toolscache.Indexers,
) toolscache.SharedIndexInformer {
	return newInformer(lw, kind, resync, indexers, skippedInProcess, i)
}

// NewClient is a client.NewClientFunc. After a write whose version is older than the cache, the client lists the kind. A write that
// changes nothing also returns an older version, so only the list decides.
func (i *Informers) NewClient(config *rest.Config, o client.Options) (client.Client, error) {
	inner, err := client.NewWithWatch(config, o)
	if err != nil {
		return nil, err
	}
	o.Cache = nil
	live, err := client.New(config, o)
	if err != nil {
		return nil, err
	}
	i.mu.Lock()
	i.live = live
	i.mu.Unlock()
	write := func(ctx context.Context, object client.Object, write func(context.Context) error) error {
		behind := i.history.reached(object)
		err := decodeWritten(ctx, object, write)
		if err == nil && isOlder(object.GetResourceVersion(), behind) {
			go i.history.probe(context.WithoutCancel(ctx), object)
		}
		return err
	}
	return interceptor.NewClient(inner, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, object client.Object, o ...client.CreateOption) error {
			return write(ctx, object, func(ctx context.Context) error { return c.Create(ctx, object, o...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, object client.Object, o ...client.UpdateOption) error {
			return write(ctx, object, func(ctx context.Context) error { return c.Update(ctx, object, o...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, object client.Object, patch client.Patch, o ...client.PatchOption) error {
			return write(ctx, object, func(ctx context.Context) error { return c.Patch(ctx, object, patch, o...) })
		},
		SubResourceUpdate: func(
			ctx context.Context, c client.Client, name string, object client.Object, o ...client.SubResourceUpdateOption,
		) error {
			return write(ctx, object, func(ctx context.Context) error { return c.SubResource(name).Update(ctx, object, o...) })
		},
		SubResourcePatch: func(
			ctx context.Context, c client.Client, name string, object client.Object, patch client.Patch, o ...client.SubResourcePatchOption,
		) error {
			return write(ctx, object, func(ctx context.Context) error { return c.SubResource(name).Patch(ctx, object, patch, o...) })
		},
	}), nil
}
