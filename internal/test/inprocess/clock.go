package inprocess

import (
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"
)

// Clock is the system's clock and can jump. Its tickers and timers do not jump, like those of a process.
type Clock struct {
	clock.RealClock
	ahead atomic.Int64
}

// Now implements clock.PassiveClock.
func (c *Clock) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// Since implements clock.PassiveClock.
func (c *Clock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// Jump moves the clock, forward or back.
func (c *Clock) Jump(by time.Duration) { c.ahead.Add(int64(by)) }
