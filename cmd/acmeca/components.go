package main

import "context"

// component is one of the programs in this binary. It runs until ctx ends, or until it fails.
type component func(ctx context.Context) error

// runAll runs the components until one of them ends, and then stops the others. It returns the first error.
func runAll(ctx context.Context, components []component) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, len(components))
	for _, run := range components {
		go func() { ended <- run(ctx) }()
	}
	var first error
	for range components {
		if err := <-ended; err != nil && first == nil {
			first = err
		}
		cancel()
	}
	return first
}
