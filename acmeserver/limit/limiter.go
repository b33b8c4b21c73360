// Package limit bounds how much work clients cause, by the address that they come from. It knows nothing of ACME.
package limit

import "sync"

// Limiter bounds the requests in flight: in total, and for each client, so that one client cannot use all slots.
type Limiter struct {
	slots, slotsPerClient int

	mu       sync.Mutex
	used     int
	byClient map[string]int
}

// NewLimiter returns a Limiter with a number of slots. One client gets at most slotsPerClient.
func NewLimiter(slots, slotsPerClient int) *Limiter {
	return &Limiter{slots: slots, slotsPerClient: slotsPerClient, byClient: map[string]int{}}
}

// Acquire reserves a slot for a client, and reports whether one was free. If so, the caller must release it.
func (l *Limiter) Acquire(client string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.used >= l.slots || l.byClient[client] >= l.slotsPerClient {
		return false
	}
	l.used++
	l.byClient[client]++
	return true
}

// Release frees a slot that Acquire reserved.
func (l *Limiter) Release(client string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used--
	if l.byClient[client]--; l.byClient[client] == 0 {
		delete(l.byClient, client)
	}
}

// InUse returns the number of reserved slots.
func (l *Limiter) InUse() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.used
}
