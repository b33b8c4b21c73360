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
	// conflictDelay is how long one waits after the first conflict, and twice as long after each further one: the change that
	// was made in between is about to be in the cache.
	conflictDelay = 10 * time.Millisecond
	// maxConflicts in a row are too many for another's change.
	maxConflicts = 6
)

// RetryConflicts has a reconciler tried again, without an error, where another has changed an object since it was read. That
// is how it should be, and nothing for those who read errors in logs and count them. A conflict that stays is an error.
func RetryConflicts[R comparable](inner reconcile.TypedReconciler[R]) reconcile.TypedReconciler[R] {
	return &conflictRetrier[R]{inner: inner, met: map[R]int{}}
}

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
	logf.FromContext(ctx).V(1).Info("another change came in between; it is tried again", "conflict", err.Error())
	return ctrl.Result{RequeueAfter: conflictDelay << met}, nil
}
