package informer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// history follows the informers of a component, and notices that the stored objects went back to an earlier state, as after a restore of
// etcd from a backup. The caches then hold objects that do not exist, and the API server sends no event until the resourceVersion of the
// last one is reached again. The component fails, since only a restart is certain to forget everything (docs/decisions/0160).
//
// The API server lists objects as of now, so a list is never older than what the cache had when the list was requested. Versions are
// compared within a kind alone: kinds may be stored in separate etcds.
type history struct {
	mu        sync.Mutex
	informers map[reflect.Type][]*paged
	lost      chan struct{} // closed once the history went back
	loss      error
}

func (h *history) follow(p *paged) {
	h.mu.Lock()
	defer h.mu.Unlock()
	kind := reflect.TypeOf(p.kind)
	h.informers[kind] = append(h.informers[kind], p)
}

func (h *history) followers(kind runtime.Object) []*paged {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.informers[reflect.TypeOf(kind)]
}

// check returns an error if a list that was requested when the cache had reached a version is older than that version.
func (h *history) check(kind runtime.Object, reached, listed string) error {
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

// reached returns the newest version that a cache of a kind has reached, or "".
func (h *history) reached(kind runtime.Object) (newest string) {
	for _, p := range h.followers(kind) {
		if version := p.informer.LastSyncResourceVersion(); newest == "" || isOlder(newest, version) {
			newest = version
		}
	}
	return newest
}

// probe checks the history of a kind. A failure means that the API server is unavailable, so watches start again, which also checks it.
func (h *history) probe(ctx context.Context, kind runtime.Object) {
	for _, p := range h.followers(kind) {
		if err := p.probe(ctx); err != nil {
			logf.FromContext(ctx).Error(err, "the history of the stored objects is uncertain")
		}
	}
}

// Start implements manager.Runnable. It fails once the history went back, which ends the manager.
func (h *history) Start(ctx context.Context) error {
	select {
	case <-h.lost:
		return h.loss
	case <-ctx.Done():
		return nil
	}
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (h *history) NeedLeaderElection() bool { return false }

// ready is a healthz.Checker.
func (h *history) ready(*http.Request) error {
	select {
	case <-h.lost:
		return h.loss
	default:
		return nil
	}
}

// AddTo makes the manager end once the history went back.
func (i *Informers) AddTo(mgr manager.Manager) error {
	return errors.Join(mgr.Add(&i.history), mgr.AddReadyzCheck("history", i.history.ready))
}
