package kube

import (
	"context"
	"errors"
	"fmt"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestIsRefusal(t *testing.T) {
	resource := schema.GroupResource{Resource: "secrets"}
	// Kyverno sets no code, for which the API server answers 400.
	webhook := &apierrors.StatusError{ErrStatus: metav1.Status{Code: 400, Message: `admission webhook "k" denied the request: no`}}
	for _, test := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{apierrors.NewForbidden(resource, "s", errors.New("exceeded quota: q")), true},
		{apierrors.NewInvalid(schema.GroupKind{Kind: "Secret"}, "s", nil), true},
		{apierrors.NewRequestEntityTooLargeError("large"), true},
		{webhook, true},
		{fmt.Errorf("writing: %w", webhook), true},
		{apierrors.NewConflict(resource, "s", nil), false},
		{apierrors.NewNotFound(resource, "s"), false},
		{apierrors.NewTooManyRequestsError("later"), false},
		{apierrors.NewInternalError(errors.New(`failed calling webhook "k"`)), false},
		{context.DeadlineExceeded, false},
	} {
		if got := IsRefusal(test.err); got != test.want {
			t.Errorf("%v: %v", test.err, got)
		}
	}
}
