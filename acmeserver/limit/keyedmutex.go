package limit

import (
	"context"
	"hash/fnv"
	"sync"
)

// KeyedMutex serializes requests under the same limit, from counting to the write. Of many concurrent requests, no more
// pass than the limit allows.
type KeyedMutex struct {
	locks [64]lock
}

type lock struct {
	once sync.Once
	held chan struct{}
}

// Lock locks the mutex of a key, and returns the function that unlocks it. ok is false if the context ends before. Keys may
// share a mutex.
func (m *KeyedMutex) Lock(ctx context.Context, key ...string) (unlock func(), ok bool) {
	sum := fnv.New32a()
	for _, part := range key {
		sum.Write([]byte(part + " ")) // a hash never fails
	}
	l := &m.locks[sum.Sum32()%uint32(len(m.locks))]
	l.once.Do(func() { l.held = make(chan struct{}, 1) })
	select {
	case l.held <- struct{}{}:
		return func() { <-l.held }, true
	case <-ctx.Done():
		return nil, false
	}
}
