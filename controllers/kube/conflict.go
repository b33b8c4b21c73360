package kube

import (
	"context"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

const (
	// conflictDelay is the wait after the first conflict, and doubles after each further one, until the cache has the other
	// change.
	conflictDelay = 10 * time.Millisecond
	// maxConflicts bounds the conflicts in a row that are retried.
	maxConflicts = 6
)

// RetryConflicts requeues a request on a conflict instead of returning the conflict, so that conflicts are not logged or
// counted as errors. A conflict that occurs more than maxConflicts times in a row is returned.
func RetryConflicts[R comparable](inner reconcile.TypedReconciler[R]) reconcile.TypedReconciler[R] {
	return &conflictRetrier[R]{inner: inner, met: map[R]int{}}
}

// conflictRetrier counts the conflicts of each request.
type conflictRetrier[R comparable] struct {
	inner reconcile.TypedReconciler[R]

	mu  sync.Mutex
	met map[R]int // in a row
}

// Reconcile implements reconcile.TypedReconciler.
func (c *conflictRetrier[R]) Reconcile(ctx context.Context, request R) (ctrl.Result, error) {
	result, err := c.inner.Reconcile(ctx, request)
	c.mu.Lock()
	defer c.mu.Unlock()
	met := c.met[request]
	if !apierrors.IsConflict(err) || met == maxConflicts {
		delete(c.met, request)
		return result, err
	}
	c.met[request] = met + 1
	logf.FromContext(ctx).V(1).Info("conflict, retrying", "reason", err.Error())
	return ctrl.Result{RequeueAfter: conflictDelay << met}, nil
}
