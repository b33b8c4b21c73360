//go:build acmeca_clock

package main

import (
	"os"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"
)

// This file is built only for `make chaos` and `make bench`, which make the clocks of processes jump.

// clockFile is the environment variable with the name of a file. The file has the offset of the clock, such as "-90s".
const clockFile = "ACMECA_CLOCK_FILE"

// clockPeriod is the time between two reads of the file.
const clockPeriod = 20 * time.Millisecond

// settableClock is the system clock plus the offset in its file. Tickers and timers do not jump, as the kernel's do not.
type settableClock struct {
	clock.RealClock
	ahead atomic.Int64
}

// Now implements clock.PassiveClock.
func (c *settableClock) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// Since implements clock.PassiveClock.
func (c *settableClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

func (c *settableClock) follow(path string) {
	for ; ; time.Sleep(clockPeriod) {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // not set yet
		}
		if ahead, err := time.ParseDuration(strings.TrimSpace(string(text))); err == nil {
			c.ahead.Store(int64(ahead))
		}
	}
}

// newClock returns a clock that follows the file named by the environment, or the system clock if none is named.
func newClock() clock.WithTickerAndDelayedExecution {
	c := &settableClock{}
	if path := os.Getenv(clockFile); path != "" {
		go c.follow(path)
	}
	return c
}
