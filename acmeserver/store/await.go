package store

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// maxWaiting bounds the requests that wait for a change at once. Beyond it, clients are told to ask again.
	maxWaiting = 4096
	// removalTimeout is how long AwaitRemoval waits for an object that the controllers remove at once.
	removalTimeout = 3 * time.Second
)

// Await returns the object once done reports true, or its newest state if the context ends before. If too many requests
// wait already, it returns at once. The error is ErrNotFound if the object does not exist, or is removed meanwhile.
func (s *Objects[T]) Await(ctx context.Context, key types.NamespacedName, done func(T) bool) (T, error) {
	changes := s.startWaiting(key)
	defer s.stopWaiting(key, changes)
	object, err := s.GetCached(ctx, key)
	if s.holds != nil && errors.Is(err, ErrNotFound) { // it may be finished since the caller read it
		object, err = s.GetLive(ctx, key)
	}
	if err != nil || done(object) {
		return object, err
	}
	select {
	case s.waiting <- struct{}{}:
		defer func() { <-s.waiting }()
	default:
		return object, nil
	}
	for {
		select {
		case changed, exists := <-changes:
			if !exists {
				return object, NotFound(s.kind.String())
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

// AwaitRemoval waits until an object that is being removed is gone. The error is ErrRemoving if that takes more than
// removalTimeout.
func (s *Objects[T]) AwaitRemoval(ctx context.Context, key types.NamespacedName) error {
	ctx, cancel := context.WithTimeout(ctx, removalTimeout)
	defer cancel()
	_, err := s.Await(ctx, key, func(T) bool { return false })
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err == nil:
		return &Error{Kind: s.kind.String(), Reason: ErrRemoving}
	}
	return err
}

// Waiting returns the number of requests that wait for a change.
func (s *Objects[T]) Waiting() int { return len(s.waiting) }

func (s *Objects[T]) startWaiting(key types.NamespacedName) chan T {
	changes := make(chan T, 8)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiters[key] == nil {
		s.waiters[key] = map[chan T]struct{}{}
	}
	s.waiters[key][changes] = struct{}{}
	return changes
}

func (s *Objects[T]) stopWaiting(key types.NamespacedName, changes chan T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiters[key], changes)
	if len(s.waiters[key]) == 0 {
		delete(s.waiters, key)
	}
}

// notify sends a change to those that wait for the object. A waiter whose channel is full loses the oldest change, since
// only the newest counts. s.mu is held.
func (s *Objects[T]) notify(key types.NamespacedName, object T) {
	for waiter := range s.waiters[key] {
		select {
		case waiter <- object.DeepCopyObject().(T):
		default:
			select {
			case <-waiter:
			default:
			}
			waiter <- object.DeepCopyObject().(T)
		}
	}
}
