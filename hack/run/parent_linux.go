package main

import (
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// stopWithParent has the kernel send SIGTERM when the parent ends. A `make run` that is killed then leaves nothing behind.
func stopWithParent() {
	// The setting is the thread's. The main goroutine keeps this one for as long as the process lives.
	runtime.LockOSThread()
	parent := os.Getppid()
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGTERM), 0, 0, 0); err != nil {
		return // the parent's end goes unnoticed, as on other systems
	}
	if os.Getppid() != parent { // it has ended meanwhile
		os.Exit(1)
	}
}
