package main

import (
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// stopWithParent makes the kernel send SIGTERM when the parent ends, so that a killed `make run` leaves nothing
// running.
func stopWithParent() {
	// The setting belongs to the thread. The main goroutine keeps this thread for the life of the process.
	runtime.LockOSThread()
	parent := os.Getppid()
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGTERM), 0, 0, 0); err != nil {
		return // the parent's end is not noticed, as on other systems
	}
	if os.Getppid() != parent { // the parent has ended in the meantime
		os.Exit(1)
	}
}
