package limit

import (
	"hash/fnv"
	"sync"
)

// KeyedMutex serializes requests under the same limit, from counting to the write. Of many concurrent requests, no more
// pass than the limit allows.
type KeyedMutex struct {
	locks [64]sync.Mutex
}

// Lock locks the mutex of a key, and returns the function that unlocks it. Keys may share a mutex.
func (m *KeyedMutex) Lock(key ...string) (unlock func()) {
	sum := fnv.New32a()
	for _, part := range key {
		sum.Write([]byte(part + " ")) // a hash never fails
	}
	lock := &m.locks[sum.Sum32()%uint32(len(m.locks))]
	lock.Lock()
	return lock.Unlock
}
