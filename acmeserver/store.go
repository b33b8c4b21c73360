package acmeserver

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
)

const (
	// maxLiveReads bounds the reads under way that go past the cache: clients cause those at will, by asking for what
	// doesn't exist.
	maxLiveReads = 32
	// awaitRead is how long a read may wait for its turn.
	awaitRead = 2 * time.Second
	// rememberedRemovals is how many removed objects are remembered, for the moment that an answer may be late.
	rememberedRemovals = 256
	// maxAwaiting bounds the requests that wait for a change at once; beyond it, clients are told to ask again.
	maxAwaiting = 4096
)

// store reads and writes objects of one kind. It shows at once what it has written, whatever the cache lags behind, and
// never an older state after a newer one.
type store[T client.Object] struct {
	cached client.Reader
	live   client.Client
	kind   string
	// empty and emptyList make what to read into.
	empty     func() T
	emptyList func() client.ObjectList
	reads     chan struct{}
	awaiting  chan struct{}

	position position

	mu sync.Mutex
	// newer holds objects that this replica has seen in answers and that the cache hasn't come up to.
	newer   map[types.NamespacedName]T
	waiters map[types.NamespacedName]map[chan T]struct{}
	// gone are the objects that were removed last, in a ring, as they were then: an answer about one may come after the news
	// that it is gone.
	gone     []T
	nextGone int
}

// newStore makes a store. What is first hears of a change before those who wait for it.
func newStore[T client.Object](ctx context.Context, c cache.Cache, live client.Client, kind string, empty func() T, emptyList func() client.ObjectList, first ...toolscache.ResourceEventHandler) (*store[T], error) {
	s := &store[T]{
		cached: c, live: live, kind: kind, empty: empty, emptyList: emptyList,
		reads: make(chan struct{}, maxLiveReads), awaiting: make(chan struct{}, maxAwaiting),
		newer: map[types.NamespacedName]T{}, waiters: map[types.NamespacedName]map[chan T]struct{}{},
	}
	informer, err := c.GetInformer(ctx, empty())
	if err != nil {
		return nil, err
	}
	s.position.informer, _ = informer.(versioned)
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(object any, initial bool) {
			for _, f := range first {
				f.OnAdd(object, initial)
			}
			s.observed(object)
		},
		UpdateFunc: func(before, object any) {
			for _, f := range first {
				f.OnUpdate(before, object)
			}
			s.observed(object)
		},
		DeleteFunc: func(object any) {
			for _, f := range first {
				f.OnDelete(object)
			}
			s.deleted(object)
		},
	})
	return s, err
}

// Get finds an object by name; the error is a problem: 404, or 503 where too many ask for what isn't there. It isn't older
// than what another replica has shown to the client.
func (s *store[T]) Get(ctx context.Context, key types.NamespacedName) (T, error) {
	if !s.position.reach(ctx, s.kind) {
		return s.getLive(ctx, key)
	}
	object, err := s.getCached(ctx, key)
	if err == nil || !apierrors.IsNotFound(err) {
		return object, err
	}
	return s.getLive(ctx, key)
}

// Find is Get for an object that may well not be there: it isn't asked for past a cache that is as far as the client has seen.
func (s *store[T]) Find(ctx context.Context, key types.NamespacedName) (object T, found bool, err error) {
	if s.position.reach(ctx, s.kind) {
		object, err = s.getCached(ctx, key)
	} else {
		object, err = s.getLive(ctx, key)
	}
	if isNotFound(err) || apierrors.IsNotFound(err) {
		return object, false, nil
	}
	return object, err == nil, err
}

func (s *store[T]) getCached(ctx context.Context, key types.NamespacedName) (T, error) {
	// Before the cache is read: what the cache comes up to meanwhile isn't held any more.
	s.mu.Lock()
	newer, ok := s.newer[key]
	s.mu.Unlock()
	object := s.empty()
	err := s.cached.Get(ctx, key, object)
	if !ok || err == nil && !older(object, newer) {
		return object, err
	}
	if _, gone := s.Last(newer.GetUID()); gone {
		return object, err
	}
	return newer.DeepCopyObject().(T), nil //nolint:nilerr // the cache doesn't have yet what was just written
}

// getLive reads past the cache, for an object that another replica may just have made.
func (s *store[T]) getLive(ctx context.Context, key types.NamespacedName) (T, error) {
	object := s.empty()
	waiting, cancel := context.WithTimeout(ctx, awaitRead)
	defer cancel()
	select {
	case s.reads <- struct{}{}:
		defer func() { <-s.reads }()
	case <-waiting.Done():
		return object, overloaded()
	}
	if err := s.live.Get(ctx, key, object); apierrors.IsNotFound(err) {
		return object, notFound(s.kind)
	} else if err != nil {
		return object, err
	}
	s.saw(object)
	return object, nil
}

// Create makes an object.
func (s *store[T]) Create(ctx context.Context, object T) error {
	err := s.live.Create(ctx, object)
	if err == nil {
		s.saw(object)
	}
	return err
}

// Patch sends a merge patch. Without a resourceVersion in it, it is the rules on the kind that keep two requests from
// overwriting each other: what is set once is refused the second time.
func (s *store[T]) Patch(ctx context.Context, key types.NamespacedName, patch []byte) (T, error) {
	object := s.empty()
	object.SetNamespace(key.Namespace)
	object.SetName(key.Name)
	err := s.live.Patch(ctx, object, client.RawPatch(types.MergePatchType, patch))
	if err == nil {
		s.saw(object)
	}
	return object, err
}

// AwaitGone waits until an object that is being removed is gone. The error is a 503 where that takes too long.
func (s *store[T]) AwaitGone(ctx context.Context, key types.NamespacedName) error {
	ctx, cancel := context.WithTimeout(ctx, awaitRemoval)
	defer cancel()
	_, err := s.Await(ctx, key, func(T) bool { return false })
	if isNotFound(err) {
		return nil
	}
	if err == nil {
		err = unavailable("the %s is being removed; try again", s.kind)
	}
	return err
}

// Await gives the object as soon as it is done, or as it is when the context ends. It returns at once where too many wait.
// The error is a 404 where the object isn't there, or is removed meanwhile.
func (s *store[T]) Await(ctx context.Context, key types.NamespacedName, done func(T) bool) (T, error) {
	changes := make(chan T, 8)
	s.mu.Lock()
	if s.waiters[key] == nil {
		s.waiters[key] = map[chan T]struct{}{}
	}
	s.waiters[key][changes] = struct{}{}
	s.mu.Unlock()
	defer s.stopWaiting(key, changes)

	object, err := s.getCached(ctx, key)
	if apierrors.IsNotFound(err) {
		return object, notFound(s.kind)
	}
	if err != nil || done(object) {
		return object, err
	}
	select {
	case s.awaiting <- struct{}{}:
		defer func() { <-s.awaiting }()
	default:
		return object, nil
	}
	for {
		select {
		case changed, exists := <-changes:
			if !exists {
				return object, notFound(s.kind)
			}
			if !older(changed, object) {
				object = changed
			}
			if done(object) {
				return object, nil
			}
		case <-ctx.Done():
			return object, nil
		}
	}
}

func (s *store[T]) stopWaiting(key types.NamespacedName, changes chan T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiters[key], changes)
	if len(s.waiters[key]) == 0 {
		delete(s.waiters, key)
	}
}

// saw keeps an object from an answer until the cache has come up to it.
func (s *store[T]) saw(object T) {
	s.position.wrote(object)
	key := client.ObjectKeyFromObject(object)
	kept := object.DeepCopyObject().(T)
	s.mu.Lock()
	_, removed := s.removed(kept.GetUID())
	if before, ok := s.newer[key]; !removed && (!ok || older(before, kept)) {
		s.newer[key] = kept
	}
	s.mu.Unlock()
	// The cache may have come up to it in the meantime, and then tells of it no more.
	current := s.empty()
	if s.cached.Get(context.Background(), key, current) == nil && !older(current, kept) {
		s.forget(key, current)
	}
}

func (s *store[T]) observed(event any) {
	object, ok := event.(T)
	if !ok {
		return
	}
	s.position.cameTo(object)
	key := client.ObjectKeyFromObject(object)
	s.forget(key, object)
	s.mu.Lock()
	defer s.mu.Unlock()
	for waiter := range s.waiters[key] {
		select {
		case waiter <- object.DeepCopyObject().(T):
		default: // it has enough to look at, and looks at the newest last
			select {
			case <-waiter:
			default:
			}
			waiter <- object.DeepCopyObject().(T)
		}
	}
}

// forget drops what is kept of an object unless that is newer than what the cache has.
func (s *store[T]) forget(key types.NamespacedName, cached T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if kept, ok := s.newer[key]; ok && !older(cached, kept) {
		delete(s.newer, key)
	}
}

func (s *store[T]) deleted(event any) {
	if unknown, ok := event.(toolscache.DeletedFinalStateUnknown); ok {
		event = unknown.Obj
	}
	if object, ok := event.(T); ok {
		s.position.cameTo(object)
		key := client.ObjectKeyFromObject(object)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.remember(object)
		if kept, ok := s.newer[key]; ok && kept.GetUID() != object.GetUID() {
			return // another one of its name was made since
		}
		delete(s.newer, key)
		for waiter := range s.waiters[key] {
			close(waiter)
		}
		delete(s.waiters, key)
	}
}

// remember notes a removal. s.mu is held.
func (s *store[T]) remember(object T) {
	if len(s.gone) < rememberedRemovals {
		s.gone = append(s.gone, object)
		return
	}
	s.gone[s.nextGone] = object
	s.nextGone = (s.nextGone + 1) % len(s.gone)
}

// removed gives one of the objects that were removed last. s.mu is held.
func (s *store[T]) removed(uid types.UID) (last T, ok bool) {
	i := slices.IndexFunc(s.gone, func(object T) bool { return uid != "" && object.GetUID() == uid })
	if i < 0 {
		return last, false
	}
	return s.gone[i], true
}

// Last gives an object as it was when it was removed, while that is remembered.
func (s *store[T]) Last(uid types.UID) (T, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.removed(uid)
}

// older reports whether a is an older state of an object than b.
func older(a, b client.Object) bool {
	order, err := resourceversion.CompareResourceVersion(a.GetResourceVersion(), b.GetResourceVersion())
	return err == nil && order < 0
}

func notFound(kind string) *acme.Problem {
	return acme.NewProblem(acme.Malformed, "there is no such %s", kind).WithStatus(http.StatusNotFound)
}

func overloaded() *acme.Problem {
	return acme.NewProblem(acme.ServerInternal, "the server is busy; try again").WithStatus(http.StatusServiceUnavailable)
}

// keyOf names an object from the path; a segment that can't be an object's name is not asked for.
func keyOf(namespace, id, kind string) (types.NamespacedName, error) {
	if !isID(id) {
		return types.NamespacedName{}, notFound(kind)
	}
	return types.NamespacedName{Namespace: namespace, Name: id}, nil
}

// isID reports whether text is of the form in which objects are named here.
func isID(text string) bool {
	if text == "" || len(text) > 63 {
		return false
	}
	for _, c := range []byte(text) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return text[0] != '-' && text[len(text)-1] != '-'
}
