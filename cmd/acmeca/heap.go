package main

import "runtime"

// heapBallast is how much the collector may let pile up between two runs at the least, in bytes.
const heapBallast = 64 << 20

// calmCollector keeps Go's collector from running many times a second. It runs whenever the heap has doubled, and what the
// operator holds is small beside what it reads and writes each second. The ballast counts as held, so that the heap may
// grow by as much; it is never touched, and so takes no memory. GOGC and GOMEMLIMIT keep their meaning.
func calmCollector() (release func()) {
	ballast := make([]byte, heapBallast)
	return func() { runtime.KeepAlive(ballast) }
}
