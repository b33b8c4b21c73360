package store

import (
	"context"
	"errors"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func TestErrorsOfTheAPIServerHaveReasons(t *testing.T) {
	resource, kind := schema.GroupResource{Resource: "acmeorders"}, schema.GroupKind{Kind: "AcmeOrder"}
	for _, test := range []struct{ err, reason error }{
		{apierrors.NewNotFound(resource, "o"), ErrNotFound},
		{apierrors.NewAlreadyExists(resource, "o"), ErrExists},
		{apierrors.NewInvalid(kind, "o", nil), ErrConflict},
		{apierrors.NewForbidden(resource, "o", nil), ErrRejected},
		{apierrors.NewForbidden(resource, "o", errors.New("exceeded quota: q, requested: count/acmeorders.acmeca.dev=1")), ErrDenied},
		{apierrors.NewForbidden(resource, "o", errors.New("ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no")), ErrDenied},
		{apierrors.NewInvalid(kind, "o", field.ErrorList{field.Invalid(nil, "", "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no")}), ErrDenied},
		{&apierrors.StatusError{ErrStatus: metav1.Status{Code: 400, Message: `admission webhook "k" denied the request: no`}}, ErrDenied},
		{&apierrors.StatusError{ErrStatus: metav1.Status{
			Code: 409, Reason: metav1.StatusReasonAlreadyExists, Message: `admission webhook "k" denied the request without explanation`,
		}}, ErrDenied},
		{apierrors.NewForbidden(resource, "o", errors.New("User \"server\" cannot create resource")), ErrRejected},
		{apierrors.NewRequestEntityTooLargeError("large"), ErrRejected},
		{apierrors.NewConflict(resource, "o", nil), ErrUnavailable},
		{context.DeadlineExceeded, ErrUnavailable},
	} {
		if err := Failure("order", test.err); !errors.Is(err, test.reason) {
			t.Errorf("%v becomes %v, not %v", test.err, err, test.reason)
		}
	}
	if Failure("order", nil) != nil {
		t.Error("success is an error")
	}
}
