package limit

import (
	"context"
	"strings"
	"sync"
)

// KeyedMutex serializes requests under the same limit, from counting to the write. Of many concurrent requests, no more
// pass than the limit allows. Requests under other limits do not wait: a count may take a read of the API server.
type KeyedMutex struct {
	mu    sync.Mutex
	locks map[string]*keyLock
}

// keyLock is the mutex of a key.
type keyLock struct {
	held  chan struct{}
	users int // requests that hold it, or wait for it
}

// Lock locks the mutex of a key, and returns the function that unlocks it. ok is false if the context ends before. No part of a key
// contains a space.
func (m *KeyedMutex) Lock(ctx context.Context, key ...string) (unlock func(), ok bool) {
	name := strings.Join(key, " ")
	l := m.enter(name)
	select {
	case l.held <- struct{}{}:
		return func() {
			<-l.held
			m.leave(name, l)
		}, true
	case <-ctx.Done():
		m.leave(name, l)
		return nil, false
	}
}

func (m *KeyedMutex) enter(name string) *keyLock {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.locks[name]
	if l == nil {
		if m.locks == nil {
			m.locks = map[string]*keyLock{}
		}
		l = &keyLock{held: make(chan struct{}, 1)}
		m.locks[name] = l
	}
	l.users++
	return l
}

func (m *KeyedMutex) leave(name string, l *keyLock) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(m.locks, name)
	}
}
