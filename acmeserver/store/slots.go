package store

import (
	"context"
	"time"
)

// slotQueue is how long a request waits for a slot.
const slotQueue = 2 * time.Second

// waitForSlot takes a slot, which the request frees by done. The error is ErrBusy.
func waitForSlot(ctx context.Context, slots chan struct{}, kind string) (done func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, slotQueue)
	defer cancel()
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	case <-ctx.Done():
		return nil, &Error{Kind: kind, Reason: ErrBusy}
	}
}
