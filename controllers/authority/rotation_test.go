package authority

import (
	"testing"
)

func TestSuccessor(t *testing.T) {
	for before, want := range map[string]string{
		"x": "x 2", "x 2": "x 3", "x 98": "x 99", "x 99": "x", "x 1": "x", "x -3": "x", "x y": "x", "y": "x", "y 2": "x", "": "x", "x 2 2": "x",
	} {
		if got := successor("x", before); got != want {
			t.Errorf("after %q: %q, want %q", before, got, want)
		}
	}
}
