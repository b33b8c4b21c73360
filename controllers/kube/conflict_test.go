package kube

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func TestAConflictIsNoErrorUnlessItStays(t *testing.T) {
	conflict := fmt.Errorf("writing: %w", apierrors.NewConflict(schema.GroupResource{Resource: "acmeorders"}, "o", errors.New("it was changed")))
	request := ctrl.Request{NamespacedName: client.ObjectKey{Name: "o"}}
	answers := []error{conflict, conflict, nil, errors.New("another one")}
	r := RetryConflicts(reconcile.Func(func(context.Context, ctrl.Request) (ctrl.Result, error) {
		if len(answers) == 0 {
			return ctrl.Result{}, conflict
		}
		answer := answers[0]
		answers = answers[1:]
		return ctrl.Result{}, answer
	}))
	for _, delay := range []int{1, 2, 0} {
		result, err := r.Reconcile(t.Context(), request)
		if err != nil || result.RequeueAfter != time.Duration(delay)*conflictDelay {
			t.Fatalf("%+v, %v", result, err)
		}
	}
	if _, err := r.Reconcile(t.Context(), request); err == nil || err.Error() != "another one" {
		t.Fatalf("another error: %v", err)
	}
	for range maxConflicts {
		if _, err := r.Reconcile(t.Context(), request); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Reconcile(t.Context(), request); !errors.Is(err, conflict) {
		t.Errorf("a conflict that stays: %v", err)
	}
}
