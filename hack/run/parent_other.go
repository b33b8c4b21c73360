//go:build unix && !linux

package main

// stopWithParent does nothing here: only Linux signals the end of a parent.
func stopWithParent() {}
