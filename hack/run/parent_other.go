//go:build unix && !linux

package main

// stopWithParent does nothing here: only Linux tells a process of its parent's end.
func stopWithParent() {}
