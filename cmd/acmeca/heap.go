package main

import "runtime"

// heapBallast is the size in bytes of an allocation that is never used.
const heapBallast = 64 << 20

// growHeap keeps Go's garbage collector from running many times a second. The collector runs each time that the heap doubles, and
// the operator holds little compared with the objects that it reads and writes each second. The ballast counts as live, so the heap
// grows by at least as much between two runs. It is never touched, so it takes no memory. GOGC and GOMEMLIMIT keep their meaning.
func growHeap() (release func()) {
	ballast := make([]byte, heapBallast)
	return func() { runtime.KeepAlive(ballast) }
}
