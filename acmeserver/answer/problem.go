package answer

import (
	"context"
	"errors"
	"net/http"
	"time"

	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/acmeca/acmeca/acmeserver/store"
	"github.com/acmeca/acmeca/api/acme"
)

// ProblemDocument is a problem as it is sent (RFC 9457 section 3, RFC 8555 section 6.7.1).
type ProblemDocument struct {
	Type        string            `json:"type"`
	Detail      string            `json:"detail,omitempty"`
	Status      int               `json:"status,omitempty"`
	Instance    string            `json:"instance,omitempty"`
	Identifier  *acme.Identifier  `json:"identifier,omitempty"`
	Subproblems []ProblemDocument `json:"subproblems,omitempty"`
	Algorithms  []string          `json:"algorithms,omitempty"`
}

// DocumentOf returns the document of a problem, or nil for nil. Only subproblems may have an identifier (RFC 8555 section
// 6.7.1): the problem's own identifier becomes that of a subproblem.
func DocumentOf(p *acme.Problem) *ProblemDocument {
	if p == nil {
		return nil
	}
	document := &ProblemDocument{Type: p.Type.URN(), Detail: p.Detail, Status: p.Status, Instance: p.Instance, Algorithms: p.Algorithms}
	subproblems := p.Subproblems
	if p.Identifier != nil && len(subproblems) == 0 {
		subproblems = []acme.Problem{*p}
	}
	for _, sub := range subproblems {
		document.Subproblems = append(document.Subproblems, ProblemDocument{Type: sub.Type.URN(), Detail: sub.Detail, Identifier: sub.Identifier})
	}
	return document
}

// Unavailable returns a problem of something that does not work now.
func Unavailable(format string, args ...any) *acme.Problem {
	return acme.NewProblem(acme.ServerInternal, format, args...).WithStatus(http.StatusServiceUnavailable)
}

// Overloaded returns the problem of a request that no slot is free for. Its status is 503, because 429 ends the attempt of
// several clients; its type is rateLimited, because nginx-acme retries no other type.
func Overloaded() *acme.Problem {
	return acme.NewProblem(acme.RateLimited, "the server is busy; try again").WithStatus(http.StatusServiceUnavailable)
}

// LimitedProblem is a problem that time solves.
type LimitedProblem struct {
	*acme.Problem
	RetryAfter time.Duration
}

// Unwrap returns the problem.
func (p *LimitedProblem) Unwrap() error { return p.Problem }

// Limited returns the problem of an exceeded rate limit (RFC 8555 section 6.6).
func Limited(after time.Duration, format string, args ...any) *LimitedProblem {
	return &LimitedProblem{acme.NewProblem(acme.RateLimited, format, args...).WithStatus(http.StatusTooManyRequests), after}
}

// StorageFull returns the problem of a request that the issuer has no room to store. Like that of Overloaded, it is 503
// rateLimited.
func StorageFull() *LimitedProblem {
	problem := acme.NewProblem(acme.RateLimited, "the issuer's storage is full; try again later")
	return &LimitedProblem{problem.WithStatus(http.StatusServiceUnavailable), RetryStorage}
}

// LocatedProblem is a problem with a URL, such as that of the account that has the key already.
type LocatedProblem struct {
	*acme.Problem
	Location string
}

// Unwrap returns the problem.
func (p *LocatedProblem) Unwrap() error { return p.Problem }

// maxDenial bounds the reason of a quota or policy that clients are told.
const maxDenial = 512

// ProblemOf returns the problem of any error. Clients are told nothing of the API server's errors, which are logged, but the
// reason for which a quota or policy denies an object.
func ProblemOf(ctx context.Context, err error) *acme.Problem {
	if problem, ok := errors.AsType[*acme.Problem](err); ok {
		return problem
	}
	kind := "object"
	if failed, ok := errors.AsType[*store.Error](err); ok {
		kind = failed.Kind
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return acme.NewProblem(acme.Malformed, "there is no such %s", kind).WithStatus(http.StatusNotFound)
	case errors.Is(err, store.ErrBusy):
		return Overloaded()
	case errors.Is(err, store.ErrRemoving):
		return Unavailable("the %s is being removed; try again", kind)
	}
	logf.FromContext(ctx).Error(err, "request failed")
	if errors.Is(err, store.ErrDenied) {
		return Unavailable("the cluster does not accept the %s now: %s", kind, acme.Printable(store.Denial(err), maxDenial))
	}
	if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrRejected) {
		return acme.NewProblem(acme.ServerInternal, "the server could not store this request").WithStatus(http.StatusInternalServerError)
	}
	return Unavailable("the server could not process this request now; try again")
}

// Fail returns the answer for an error.
func Fail(ctx context.Context, err error) *Answer {
	problem := ProblemOf(ctx, err)
	status := problem.Status
	if status == 0 {
		status = http.StatusBadRequest
	}
	a := &Answer{
		Status: status, Body: DocumentOf(problem), ContentType: "application/problem+json", Problem: problem.Type,
		Header: http.Header{"Content-Language": {"en"}},
	}
	if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		a.RetryAfter = RetryUnavailable
	}
	if limited, ok := errors.AsType[*LimitedProblem](err); ok {
		a.RetryAfter = min(limited.RetryAfter, maxRetry)
	}
	if located, ok := errors.AsType[*LocatedProblem](err); ok {
		a.Location = located.Location
	}
	if problem.Type == acme.UserActionRequired && problem.Instance != "" {
		a.Links = append(a.Links, Link{problem.Instance, "terms-of-service"})
	}
	return a
}
