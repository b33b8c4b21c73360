//go:build !acmeca_clock

package main

import "k8s.io/utils/clock"

// newClock returns the system clock. Builds with the tag acmeca_clock, for tests only, have a clock that can be set
// (clock_settable.go).
func newClock() clock.WithTickerAndDelayedExecution { return clock.RealClock{} }
