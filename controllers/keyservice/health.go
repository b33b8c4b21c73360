package keyservice

import (
	"sync"
	"time"

	"k8s.io/utils/clock"
)

const (
	firstPause = 250 * time.Millisecond
	lastPause  = 5 * time.Second
)

// health stops calls of a service that does not answer. After a failure there is a pause, in which all calls fail at once. Then one
// call is admitted as a probe. Its success ends the outage, its failure doubles the pause.
type health struct {
	clock clock.PassiveClock

	mu      sync.Mutex
	failure *Error // nil while the service answers
	since   time.Time
	pause   time.Duration
	next    time.Time
	probing bool
}

// admit returns the failure that a call would meet, or nil if the call is to be made. The caller reports the end of an admitted call
// with done or skipped.
func (h *health) admit() *Error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failure == nil {
		return nil
	}
	if h.probing || h.clock.Now().Before(h.next) {
		return h.failure
	}
	h.probing = true
	return nil
}

// closed is admit for a caller that makes no call.
func (h *health) closed() *Error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failure != nil && (h.probing || h.clock.Now().Before(h.next)) {
		return h.failure
	}
	return nil
}

// done notes the outcome of a call. An answer about one request is no outage.
func (h *health) done(failure *Error, answered bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.probing = false
	if failure == nil || answered {
		h.failure = nil
		return
	}
	now := h.clock.Now()
	if h.failure == nil {
		h.since, h.pause = now, firstPause
	} else if !now.Before(h.next) { // calls that were in flight with the first one count once
		h.pause = min(2*h.pause, lastPause)
	}
	h.failure, h.next = failure, now.Add(h.pause)
}

// skipped notes that an admitted call was not made.
func (h *health) skipped() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.probing = false
}

func (h *health) outage() (*Error, time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failure == nil {
		return nil, 0
	}
	return h.failure, h.clock.Since(h.since)
}
