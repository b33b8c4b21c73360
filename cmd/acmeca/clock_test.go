//go:build !acmeca_clock

package main

import (
	"testing"

	"k8s.io/utils/clock"
)

func TestTheClockIsTheSystems(t *testing.T) {
	if _, ok := newClock().(clock.RealClock); !ok {
		t.Error("newClock returns another clock")
	}
}
