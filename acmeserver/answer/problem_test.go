package answer

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/acmeca/acmeca/acmeserver/store"
	"github.com/acmeca/acmeca/api/acme"
)

func TestErrorsBecomeProblems(t *testing.T) {
	for _, test := range []struct {
		err        error
		status     int
		kind       acme.ProblemType
		retryAfter time.Duration
		detail     string
	}{
		{acme.NewProblem(acme.BadCSR, "no"), 400, acme.BadCSR, 0, "no"},
		{fmt.Errorf("wrapped: %w", acme.NewProblem(acme.BadCSR, "no")), 400, acme.BadCSR, 0, "no"},
		{store.NotFound("order"), 404, acme.Malformed, 0, "there is no such order"},
		{&store.Error{Kind: "order", Reason: store.ErrBusy}, 503, acme.RateLimited, 5 * time.Second, "the server is busy; try again"},
		{&store.Error{Kind: "account", Reason: store.ErrRemoving}, 503, acme.ServerInternal, 5 * time.Second, "the account is being removed; try again"},
		{&store.Error{Kind: "order", Reason: store.ErrConflict}, 500, acme.ServerInternal, 0, "the server could not store this request"},
		{&store.Error{Kind: "order", Reason: store.ErrRejected, Cause: errors.New("secret")}, 500, acme.ServerInternal, 0, "the server could not store this request"},
		{&store.Error{Kind: "order", Reason: store.ErrUnavailable, Cause: errors.New("secret")}, 503, acme.ServerInternal, 5 * time.Second, "the server could not process this request now; try again"},
		{
			&store.Error{Kind: "order", Reason: store.ErrDenied, Cause: apierrors.NewForbidden(schema.GroupResource{Resource: "acmeorders"}, "o", errors.New("exceeded quota: q"))},
			503, acme.ServerInternal, 5 * time.Second, "the cluster does not accept the order now: exceeded quota: q",
		},
		{errors.New("secret"), 503, acme.ServerInternal, 5 * time.Second, "the server could not process this request now; try again"},
		{Limited(90*time.Second, "slowly"), http.StatusTooManyRequests, acme.RateLimited, 90 * time.Second, "slowly"},
		{Limited(24*time.Hour, "slowly"), http.StatusTooManyRequests, acme.RateLimited, 600 * time.Second, "slowly"},
	} {
		a := Fail(t.Context(), test.err)
		document := a.Body.(*ProblemDocument)
		if a.Status != test.status || a.Problem != test.kind || a.RetryAfter != test.retryAfter || document.Detail != test.detail {
			t.Errorf("%v: %d %s %s %q", test.err, a.Status, a.Problem, a.RetryAfter, document.Detail)
		}
	}
}
