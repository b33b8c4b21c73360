package keyservice

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
)

func TestACallThatEndsInTimeIsNoTimeout(t *testing.T) {
	server := NewServer(nil, 8, logr.Discard())
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for range 20_000 {
				if _, err := call(context.Background(), server, time.Hour, func(context.Context) (int, error) { return 1, nil }); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	callers.Wait()
}
