//go:build !acmeca_clock

package main

import "k8s.io/utils/clock"

// newClock gives the clock of both halves: the system's. A program that is built for tests alone has another one, which
// can be set (clock_settable.go).
func newClock() clock.WithTickerAndDelayedExecution { return clock.RealClock{} }
