package informer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// History notices that the stored objects went back to an earlier state, as after a restore of etcd from a backup. The caches then hold
// objects that do not exist, and the API server sends no event until the resourceVersion of the last one is reached again. The component
// fails, since only a restart is certain to forget everything (docs/decisions/0160).
//
// The API server lists objects as of now, so a list is never older than what the cache had when the list was requested. Versions are
// compared within a kind alone: kinds may be stored in separate etcds.
type History struct {
	// Count is told how many bytes are stored; nil to count none. It is set before the first informer is made.
	Count CountBytes
	// Orders is told of the stored orders, whose bytes Count is then not told of; nil for none. It is set before the first informer is made.
	Orders Observer
	// UnfinishedOrders makes the caches of orders hold only some of them (ordercache.Holds): unfinished ones, and those with a requested
	// revocation. Event handlers hear of changes of all orders. Count is told only of the orders that the caches hold. It is set before the
	// first informer is made, and needs NewClient.
	UnfinishedOrders bool

	mu        sync.Mutex
	live      client.Reader // reads past every cache
	informers map[reflect.Type][]*paged
	lost      chan struct{} // closed once the history went back
	loss      error
}

// NewHistory returns a History that follows no informer yet.
func NewHistory() *History {
	return &History{informers: map[reflect.Type][]*paged{}, lost: make(chan struct{})}
}

// NewInformer is a cache.Options.NewInformer.
func (h *History) NewInformer(
	lw toolscache.ListerWatcher, kind runtime.Object, resync time.Duration, indexers toolscache.Indexers,
) toolscache.SharedIndexInformer {
	return newInformer(lw, kind, resync, indexers, skippedInProcess, h)
}

func (h *History) follow(p *paged) {
	h.mu.Lock()
	defer h.mu.Unlock()
	kind := reflect.TypeOf(p.kind)
	h.informers[kind] = append(h.informers[kind], p)
}

func (h *History) followers(kind runtime.Object) []*paged {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.informers[reflect.TypeOf(kind)]
}

// check returns an error if a list that was requested when the cache had reached a version is older than that version.
func (h *History) check(kind runtime.Object, reached, listed string) error {
	if !isOlder(listed, reached) {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.loss == nil {
		h.loss = fmt.Errorf("stored objects of kind %s went back from resourceVersion %s to %s, as after a restore of etcd from a backup: "+
			"restarting to read all objects again", reflect.TypeOf(kind).Elem().Name(), reached, listed)
		close(h.lost)
	}
	return h.loss
}

// isOlder reports whether a version is older than another one. Unknown versions are not.
func isOlder(version, than string) bool {
	order, err := resourceversion.CompareResourceVersion(version, than)
	return err == nil && order < 0
}

// NewClient is a client.NewClientFunc. After a write whose version is older than the cache, the client lists the kind. A write that
// changes nothing also returns an older version, so only the list decides.
func (h *History) NewClient(config *rest.Config, o client.Options) (client.Client, error) {
	inner, err := client.NewWithWatch(config, o)
	if err != nil {
		return nil, err
	}
	o.Cache = nil
	live, err := client.New(config, o)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	h.live = live
	h.mu.Unlock()
	write := func(ctx context.Context, object client.Object, write func(context.Context) error) error {
		behind := h.reached(object)
		err := decodeWritten(ctx, object, write)
		if err == nil && isOlder(object.GetResourceVersion(), behind) {
			go h.probe(context.WithoutCancel(ctx), object)
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

// reached returns the newest version that a cache of a kind has reached, or "".
func (h *History) reached(kind runtime.Object) (newest string) {
	for _, p := range h.followers(kind) {
		if version := p.informer.LastSyncResourceVersion(); newest == "" || isOlder(newest, version) {
			newest = version
		}
	}
	return newest
}

// probe checks the history of a kind. A failure means that the API server is unavailable, so watches start again, which also checks it.
func (h *History) probe(ctx context.Context, kind runtime.Object) {
	for _, p := range h.followers(kind) {
		if err := p.probe(ctx); err != nil {
			logf.FromContext(ctx).Error(err, "the history of the stored objects is uncertain")
		}
	}
}

// Start implements manager.Runnable. It fails once the history went back, which ends the manager.
func (h *History) Start(ctx context.Context) error {
	select {
	case <-h.lost:
		return h.loss
	case <-ctx.Done():
		return nil
	}
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (h *History) NeedLeaderElection() bool { return false }

// Ready is a healthz.Checker.
func (h *History) Ready(*http.Request) error {
	select {
	case <-h.lost:
		return h.loss
	default:
		return nil
	}
}

// AddTo makes the manager end once the history went back.
func (h *History) AddTo(mgr manager.Manager) error {
	return errors.Join(mgr.Add(h), mgr.AddReadyzCheck("history", h.Ready))
}
