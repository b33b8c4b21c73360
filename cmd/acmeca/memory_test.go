package main

import (
	"runtime/debug"
	"testing"
)

func TestLimitMemory(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	for _, test := range []struct {
		container, golang string
		want              int64
		fails             bool
	}{
		{"", "", before, false},
		{"536870912", "", 483183821, false},
		{"536870912", "1GiB", before, false},
		{"512Mi", "", before, true},
		{"0", "", before, true},
	} {
		debug.SetMemoryLimit(before)
		t.Setenv(memoryLimitVariable, test.container)
		t.Setenv("GOMEMLIMIT", test.golang)
		err := limitMemory()
		if got := debug.SetMemoryLimit(-1); got != test.want || (err != nil) != test.fails {
			t.Errorf("%+v: got %d, %v", test, got, err)
		}
	}
}
