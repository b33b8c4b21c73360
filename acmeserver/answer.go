package acmeserver

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/acmeca/acmeca/api/acme"
)

// answer is what a handler has to say. Handlers know no HTTP beyond it; write is where it becomes a response.
type answer struct {
	status int
	// body is sent as JSON; raw is sent as it is.
	body        any
	raw         []byte
	contentType string
	location    string
	links       []link
	retryAfter  time.Duration
	// maxAge is for how long anyone may keep the answer; it has no nonce then. Zero is for answers that nobody may keep.
	maxAge time.Duration
	header http.Header
	// problem is the type of the problem that the body is; empty for none.
	problem acme.ProblemType
}

type link struct{ url, rel string }

func ok(body any) *answer { return &answer{status: http.StatusOK, body: body} }

// problemDocument is a problem as it is sent (RFC 9457 section 3, RFC 8555 section 6.7.1).
type problemDocument struct {
	Type        string            `json:"type"`
	Detail      string            `json:"detail,omitempty"`
	Status      int               `json:"status,omitempty"`
	Instance    string            `json:"instance,omitempty"`
	Identifier  *acme.Identifier  `json:"identifier,omitempty"`
	Subproblems []problemDocument `json:"subproblems,omitempty"`
	Algorithms  []string          `json:"algorithms,omitempty"`
}

// documentOf writes a problem. An identifier stands in subproblems alone (RFC 8555 section 6.7.1), so that of the problem
// itself goes into one.
func documentOf(p *acme.Problem) *problemDocument {
	if p == nil {
		return nil
	}
	document := &problemDocument{Type: p.Type.URN(), Detail: p.Detail, Status: p.Status, Instance: p.Instance, Algorithms: p.Algorithms}
	subproblems := p.Subproblems
	if p.Identifier != nil && len(subproblems) == 0 {
		subproblems = []acme.Problem{*p}
	}
	for _, sub := range subproblems {
		document.Subproblems = append(document.Subproblems, problemDocument{Type: sub.Type.URN(), Detail: sub.Detail, Identifier: sub.Identifier})
	}
	return document
}

// problemOf makes a problem of any error. What is no problem is the API server's or ours; clients aren't told more of it
// than that they may try again.
func problemOf(ctx context.Context, err error) *acme.Problem {
	if problem, ok := errors.AsType[*acme.Problem](err); ok {
		return problem
	}
	logf.FromContext(ctx).Error(err, "request failed")
	problem := acme.NewProblem(acme.ServerInternal, "the server could not do this now; try again").WithStatus(http.StatusServiceUnavailable)
	if apierrors.IsInvalid(err) || apierrors.IsForbidden(err) || apierrors.IsRequestEntityTooLargeError(err) {
		problem.Detail = "the server could not store this request"
		problem.Status = http.StatusInternalServerError
	}
	return problem
}

// retryAfterOverload is how long clients are asked to wait when the server can't serve them now.
const retryAfterOverload = 5 * time.Second

// fail answers with a problem.
func fail(ctx context.Context, err error) *answer {
	problem := problemOf(ctx, err)
	status := problem.Status
	if status == 0 {
		status = http.StatusBadRequest
	}
	a := &answer{status: status, body: documentOf(problem), contentType: "application/problem+json", problem: problem.Type, header: http.Header{"Content-Language": {"en"}}}
	if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		a.retryAfter = retryAfterOverload
	}
	if limited, ok := errors.AsType[*limitedProblem](err); ok {
		a.retryAfter = limited.retryAfter
	}
	if located, ok := errors.AsType[*locatedProblem](err); ok {
		a.location = located.location
	}
	if problem.Type == acme.UserActionRequired && problem.Instance != "" {
		a.links = append(a.links, link{problem.Instance, "terms-of-service"})
	}
	return a
}

// locatedProblem is a problem that comes with a URL, such as that of the account that has the key already.
type locatedProblem struct {
	*acme.Problem
	location string
}

func (p *locatedProblem) Unwrap() error { return p.Problem }

// seconds writes a duration as HTTP does, rounded up (RFC 9110 section 10.2.3).
func seconds(d time.Duration) string { return strconv.Itoa(int((d + time.Second - 1) / time.Second)) }

func (a *answer) write(w http.ResponseWriter) {
	h := w.Header()
	for name, values := range a.header {
		h[name] = values
	}
	for _, l := range a.links {
		h.Add("Link", "<"+l.url+`>;rel="`+l.rel+`"`)
	}
	if a.location != "" {
		h.Set("Location", a.location)
	}
	if a.retryAfter > 0 {
		h.Set("Retry-After", seconds(a.retryAfter))
	}
	if a.maxAge > 0 {
		h.Set("Cache-Control", "public, max-age="+seconds(a.maxAge))
	} else {
		h.Set("Cache-Control", "no-store")
	}
	body := a.raw
	if a.body != nil {
		var err error
		if body, err = json.Marshal(a.body); err != nil {
			w.WriteHeader(http.StatusInternalServerError) // our own types marshal
			return
		}
		body = append(body, '\n')
		if a.contentType == "" {
			a.contentType = "application/json"
		}
	}
	if len(body) > 0 {
		h.Set("Content-Type", a.contentType)
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(body) // a client that has gone doesn't want it
}
