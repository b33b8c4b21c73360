package limit

import (
	"slices"
	"sync"
	"time"
)

// maxOrigins bounds the origins whose attempts are remembered.
const maxOrigins = 4096

// Attempt is an event that a limit counts.
type Attempt struct {
	ID   string
	Time time.Time
}

// Attempts remembers the latest attempts of each origin, in memory. It serves limits on events that leave no object behind.
type Attempts struct {
	mu       sync.Mutex
	byOrigin map[string][]Attempt
}

// Add remembers an attempt, and at most keep-1 earlier ones of its origin. If there are too many origins, it forgets one.
func (a *Attempts) Add(origin string, attempt Attempt, keep int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.byOrigin == nil {
		a.byOrigin = map[string][]Attempt{}
	}
	if _, known := a.byOrigin[origin]; !known && len(a.byOrigin) >= maxOrigins {
		oldest := ""
		for other, attempts := range a.byOrigin {
			if oldest == "" || attempts[len(attempts)-1].Time.Before(a.byOrigin[oldest][len(a.byOrigin[oldest])-1].Time) {
				oldest = other
			}
		}
		delete(a.byOrigin, oldest)
	}
	attempts := append(a.byOrigin[origin], attempt)
	a.byOrigin[origin] = slices.Clone(attempts[max(len(attempts)-keep, 0):])
}

// Of returns the attempts of an origin, the oldest first.
func (a *Attempts) Of(origin string) []Attempt {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.byOrigin[origin]
}
