package main

import (
	"context"
	"testing"
	"time"
)

// TestBounded is a short run. `make chaos` is a long one.
func TestBounded(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	if err := run(ctx, options{enumerate: 10 * time.Second, processes: 12 * time.Second, clients: 6, seed: 1}, t.Output()); err != nil {
		t.Fatal(err)
	}
}
