package kube

import (
	"context"
	"time"

	"k8s.io/utils/clock"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// Periodic returns a leader-only runnable that runs work at once and every period. A failure is logged with the message
// failure.
func Periodic(c clock.WithTicker, period time.Duration, failure string, work func(context.Context) error) manager.Runnable {
	return manager.RunnableFunc(func(ctx context.Context) error {
		ticker := c.NewTicker(period)
		defer ticker.Stop()
		for {
			if err := work(ctx); err != nil && ctx.Err() == nil {
				logf.FromContext(ctx).Error(err, failure+", retrying")
			}
			select {
			case <-ticker.C():
			case <-ctx.Done():
				return nil
			}
		}
	})
}
