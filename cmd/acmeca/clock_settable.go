//go:build acmeca_clock

package main

import (
	"os"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"
)

// This file is in no program but that of `make chaos`, which has the clocks of single processes jump.

// clockFile names the environment's variable with the file that says by how much the clock is ahead, such as "-90s".
const clockFile = "ACMECA_CLOCK_FILE"

const clockLook = 20 * time.Millisecond

// settableClock is the system's, and jumps when its file is written. Its tickers and timers don't jump with it, as the
// kernel's don't.
type settableClock struct {
	clock.RealClock
	ahead atomic.Int64
}

// Now implements clock.PassiveClock.
func (c *settableClock) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// Since implements clock.PassiveClock.
func (c *settableClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

func (c *settableClock) follow(path string) {
	for ; ; time.Sleep(clockLook) {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // nobody has set it yet
		}
		if ahead, err := time.ParseDuration(strings.TrimSpace(string(text))); err == nil {
			c.ahead.Store(int64(ahead))
		}
	}
}

func newClock() clock.WithTickerAndDelayedExecution {
	c := &settableClock{}
	if path := os.Getenv(clockFile); path != "" {
		go c.follow(path)
	}
	return c
}
