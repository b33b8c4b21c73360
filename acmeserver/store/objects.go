package store

import (
	"context"
	"errors"
	"maps"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// maxLiveReads bounds the concurrent reads past the cache. Clients cause such reads at will, by asking for objects that do not exist.
const maxLiveReads = 32

// Objects reads and writes objects of one kind.
type Objects[T client.Object] struct {
	cached    client.Reader
	live      client.Client
	kind      kind
	newObject func() T
	newList   func() client.ObjectList
	// liveReads and waiting hold an element for each read past the cache, and for each request that waits for a change.
	liveReads, waiting chan struct{}
	otherReads         []chan struct{} // have an element for each other read past the cache

	// holds reports whether the cache holds an object, and uncached returns one that it does not hold; nil if it holds all objects.
	holds    func(T) bool
	uncached func(types.NamespacedName) (T, bool)

	// noted is called with each new state of an object, and dropped with an object that is gone; nil if nobody needs them.
	noted, dropped func(T)

	position position

	mu sync.Mutex
	// newer holds objects from API answers that are newer than the cache.
	newer   map[types.NamespacedName]T
	waiters map[types.NamespacedName]map[chan T]struct{}
	removed removals[T]
}

func newObjects[T client.Object](
	cached client.Reader, live client.Client, k kind, newObject func() T, newList func() client.ObjectList,
) *Objects[T] {
	return &Objects[T]{
		cached: cached, live: live, kind: k, newObject: newObject, newList: newList,
		liveReads: make(chan struct{}, maxLiveReads), waiting: make(chan struct{}, maxWaiting),
		newer: map[types.NamespacedName]T{}, waiters: map[types.NamespacedName]map[chan T]struct{}{},
	}
}

// watch follows the kind's informer.
func (s *Objects[T]) watch(ctx context.Context, c cache.Cache) error {
	informer, err := c.GetInformer(ctx, s.newObject())
	if err != nil {
		return err
	}
	s.position.informer, _ = informer.(versioned)
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: s.observed, UpdateFunc: func(_, object any) { s.observed(object) }, DeleteFunc: s.deleted,
	})
	return err
}

// Get returns the object with a name. It is at least as new as any replica has shown it to the client. An object that is
// not in the cache is read from the API server. The errors are ErrNotFound, ErrBusy and ErrUnavailable.
func (s *Objects[T]) Get(ctx context.Context, key types.NamespacedName) (T, error) {
	if !s.upToDate(ctx) {
		return s.GetLive(ctx, key)
	}
	object, err := s.GetCached(ctx, key)
	if errors.Is(err, ErrNotFound) {
		return s.GetLive(ctx, key)
	}
	return object, err
}

// Find is Get for an object that often does not exist: an object that is missing from an up-to-date cache is not read from
// the API server.
func (s *Objects[T]) Find(ctx context.Context, key types.NamespacedName) (object T, found bool, err error) {
	if s.upToDate(ctx) {
		object, err = s.GetCached(ctx, key)
	} else {
		object, err = s.GetLive(ctx, key)
	}
	if errors.Is(err, ErrNotFound) {
		return object, false, nil
	}
	return object, err == nil, err
}

// GetCached returns the object with a name from the cache, or as this replica wrote it, if that is newer.
func (s *Objects[T]) GetCached(ctx context.Context, key types.NamespacedName) (T, error) {
	// newer is read before the cache: an entry is dropped once the cache has it.
	s.mu.Lock()
	newer, ok := s.newer[key]
	s.mu.Unlock()
	object, err := s.read(ctx, key)
	if !ok || err == nil && !older(object, newer) || s.isMissing(newer, err) {
		return object, Failure(s.kind.String(), err)
	}
	if _, gone := s.LastState(newer.GetUID()); gone {
		return object, Failure(s.kind.String(), err)
	}
	return newer.DeepCopyObject().(T), nil //nolint:nilerr // the cache does not have yet what was just written
}

// read returns the object with a name from the cache, or one that the cache does not hold.
func (s *Objects[T]) read(ctx context.Context, key types.NamespacedName) (T, error) {
	object := s.newObject()
	err := s.cached.Get(ctx, key, object)
	if s.uncached != nil && apierrors.IsNotFound(err) {
		if kept, ok := s.uncached(key); ok {
			return kept.DeepCopyObject().(T), nil
		}
	}
	return object, err
}

// GetLive returns the object with a name from the API server.
func (s *Objects[T]) GetLive(ctx context.Context, key types.NamespacedName) (T, error) {
	object := s.newObject()
	done, err := waitForSlot(ctx, s.liveReads, s.kind.String())
	if err != nil {
		return object, err
	}
	defer done()
	if err := s.live.Get(ctx, key, object); err != nil {
		return object, Failure(s.kind.String(), err)
	}
	s.written(object)
	return object, nil
}

// LiveReads returns the number of reads past the cache that are in flight.
func (s *Objects[T]) LiveReads() int {
	reads := len(s.liveReads)
	for _, slots := range s.otherReads {
		reads += len(slots)
	}
	return reads
}

// Create creates an object. The errors are ErrExists, ErrConflict, ErrRejected, ErrDenied and
// ErrUnavailable.
func (s *Objects[T]) Create(ctx context.Context, object T) error {
	if err := s.live.Create(ctx, object); err != nil {
		return Failure(s.kind.String(), err)
	}
	s.written(object)
	return nil
}

// Patch applies a merge patch, and returns the object that results. The patch holds no resourceVersion: of two requests
// that set a field that is set once, the kind's rules refuse the second with ErrConflict.
func (s *Objects[T]) Patch(ctx context.Context, key types.NamespacedName, patch []byte) (T, error) {
	object := s.newObject()
	object.SetNamespace(key.Namespace)
	object.SetName(key.Name)
	if err := s.live.Patch(ctx, object, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return object, Failure(s.kind.String(), err)
	}
	s.written(object)
	return object, nil
}

// written keeps an object from an API answer until the cache has it.
func (s *Objects[T]) written(object T) {
	s.position.noteWritten(object)
	key := client.ObjectKeyFromObject(object)
	kept := object.DeepCopyObject().(T)
	s.mu.Lock()
	defer s.mu.Unlock()
	current, err := s.read(context.Background(), key)
	switch {
	case err == nil && !older(current, kept):
		return // the event about it, or about a newer state, comes or came
	case s.isMissing(kept, err):
		s.settle(key, kept)
		return
	}
	if _, gone := s.removed.find(kept.GetUID()); gone {
		return
	}
	if before, ok := s.newer[key]; !ok || older(before, kept) {
		s.newer[key] = kept
		if s.noted != nil {
			s.noted(kept)
		}
	}
}

// isMissing reports whether the cache, which was read with an error, does not have an object although its watch has passed the object's
// state. So the object is finished or removed. An event said so, unless the watch was lost. A finished object counts as missing if it is
// not known how far the watch is.
func (s *Objects[T]) isMissing(object T, err error) bool {
	return s.holds != nil && apierrors.IsNotFound(err) &&
		(s.position.isPast(object) || s.position.informer == nil && !s.holds(object))
}

// mayBeMissing is isMissing also for a cache that holds all objects. Such a cache may be about to receive the object.
func (s *Objects[T]) mayBeMissing(object T, err error) bool {
	return s.isMissing(object, err) || apierrors.IsNotFound(err) && s.position.isPast(object)
}

// settle handles the answer about an object that the cache does not hold, in place of an event. s.mu is held.
func (s *Objects[T]) settle(key types.NamespacedName, object T) {
	if s.holds(object) {
		return // an old answer: the object is finished or removed
	}
	if before, ok := s.newer[key]; ok && !older(object, before) {
		delete(s.newer, key)
		s.noted(object)
		s.notify(key, object)
	}
}

// settleMissing reads the objects that were written here and that no event may tell of: the watch was lost until they were finished or
// removed.
func (s *Objects[T]) settleMissing(ctx context.Context) {
	s.mu.Lock()
	newer := maps.Clone(s.newer)
	s.mu.Unlock()
	for key, object := range newer {
		if _, err := s.read(ctx, key); !s.mayBeMissing(object, err) {
			continue
		}
		if _, err := s.GetLive(ctx, key); errors.Is(err, ErrNotFound) {
			s.deleted(object)
		}
	}
}

// observed handles the informer's news of an object.
func (s *Objects[T]) observed(event any) {
	object, ok := event.(T)
	if !ok {
		return
	}
	s.position.noteCached(object)
	key := client.ObjectKeyFromObject(object)
	s.forget(key, object)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.noted != nil {
		s.noted(object)
	}
	s.notify(key, object)
}

// forget drops the kept state of an object unless it is newer than the cached one.
func (s *Objects[T]) forget(key types.NamespacedName, cached T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if kept, ok := s.newer[key]; ok && !older(cached, kept) {
		delete(s.newer, key)
	}
}

// deleted handles the informer's news that an object is gone.
func (s *Objects[T]) deleted(event any) {
	if unknown, ok := event.(toolscache.DeletedFinalStateUnknown); ok {
		event = unknown.Obj
	}
	object, ok := event.(T)
	if !ok {
		return
	}
	s.position.noteCached(object)
	key := client.ObjectKeyFromObject(object)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removed.add(object)
	if s.dropped != nil {
		s.dropped(object)
	}
	if kept, ok := s.newer[key]; ok && kept.GetUID() != object.GetUID() {
		return // another object of this name was created since
	}
	delete(s.newer, key)
	for waiter := range s.waiters[key] {
		close(waiter)
	}
	delete(s.waiters, key)
}

// LastState returns the last state of a removed object. Only the latest removals are remembered.
func (s *Objects[T]) LastState(uid types.UID) (T, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.removed.find(uid)
}

// older reports whether a is an older state of an object than b.
func older(a, b client.Object) bool {
	order, err := resourceversion.CompareResourceVersion(a.GetResourceVersion(), b.GetResourceVersion())
	return err == nil && order < 0
}
