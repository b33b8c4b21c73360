package main

import (
	"bytes"
	"fmt"
	"runtime"
	"runtime/pprof"
	"time"

	"github.com/acmeca/acmeca/hack/chaos/history"
)

const (
	// leakWait is for goroutines that end by themselves, such as those of idle connections.
	leakWait = 2 * time.Minute
	leakLook = 50 * time.Millisecond
)

// checkLeaks checks that ended operators leave no goroutines behind: there are no more than after the first operator.
func checkLeaks(before int, r *report) {
	for end := time.Now().Add(leakWait); ; time.Sleep(leakLook) {
		left := runtime.NumGoroutine() - before
		if left <= 0 {
			return
		}
		if time.Now().After(end) {
			var stacks bytes.Buffer
			_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1)
			r.violated(history.Violation{Fault: history.Broken, What: fmt.Sprintf("%d goroutines are left of operators that have ended, of these:\n%s", left, stacks.String())})
			return
		}
	}
}
