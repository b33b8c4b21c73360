package kube

import (
	"context"
	"time"

	"k8s.io/utils/clock"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// Periodic is work for a manager to do at once and after each period, where this replica leads, as it is with all that
// doesn't say otherwise. A failure is logged with the words given, and the work is tried again.
func Periodic(c clock.WithTicker, period time.Duration, failure string, work func(context.Context) error) manager.Runnable {
	return manager.RunnableFunc(func(ctx context.Context) error {
		ticker := c.NewTicker(period)
		defer ticker.Stop()
		for {
			if err := work(ctx); err != nil && ctx.Err() == nil {
				logf.FromContext(ctx).Error(err, failure+"; it is tried again")
			}
			select {
			case <-ticker.C():
			case <-ctx.Done():
				return nil
			}
		}
	})
}
