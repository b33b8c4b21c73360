package main

import (
	"runtime"
	"time"
)

const (
	// leakRoom is what the runtime and libraries keep for themselves, however many operators there were.
	leakRoom = 10
	leakWait = 20 * time.Second
	leakLook = 50 * time.Millisecond
)

// leaked is how many goroutines there are more than before, once those that are about to end have had the time to.
func leaked(before int) int {
	for end := time.Now().Add(leakWait); ; time.Sleep(leakLook) {
		left := runtime.NumGoroutine() - before - leakRoom
		if left <= 0 || time.Now().After(end) {
			return max(0, left)
		}
	}
}
