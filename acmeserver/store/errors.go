package store

import (
	"errors"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Reasons of an Error, to be tested for with errors.Is.
var (
	// ErrNotFound means that the object does not exist.
	ErrNotFound = errors.New("not found")
	// ErrExists means that an object of this name exists already.
	ErrExists = errors.New("already exists")
	// ErrConflict means that the rules of the kind refuse a change, such as to a field that is set once.
	ErrConflict = errors.New("refused by the rules of the kind")
	// ErrRejected means that the API server never accepts the object: it is too large, or this server may not write it.
	ErrRejected = errors.New("rejected by the API server")
	// ErrDenied means that a quota, an admission policy or a webhook of the cluster refuses the object, or that the namespace is
	// being deleted. The API server may accept the object later. Denial returns the reason.
	ErrDenied = errors.New("denied by the cluster")
	// ErrBusy means that too many reads go past the cache now.
	ErrBusy = errors.New("too many reads past the cache")
	// ErrExpired means that a list can't go on at the given place.
	ErrExpired = errors.New("no such place in the list")
	// ErrRemoving means that an object that is being removed is still there.
	ErrRemoving = errors.New("still being removed")
	// ErrUnavailable means that the API server could not be asked, or failed.
	ErrUnavailable = errors.New("API server unavailable")
)

// Error says why an object of a kind could not be read or written.
type Error struct {
	// Kind is the kind of the object, in words that clients may see.
	Kind string
	// Reason is one of the sentinels.
	Reason error
	// Cause is the API server's error, if it is the cause.
	Cause error
}

// Error implements error.
func (e *Error) Error() string {
	text := e.Kind + ": " + e.Reason.Error()
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Unwrap returns the reason and the cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Reason}
	}
	return []error{e.Reason, e.Cause}
}

// NotFound returns the error for an object of a kind that does not exist.
func NotFound(kind string) error { return &Error{Kind: kind, Reason: ErrNotFound} }

// Failure turns an error of the API server, or of a cache, into an Error. It returns nil for nil.
func Failure(kind string, err error) error {
	switch {
	case err == nil:
		return nil
	case denial(err) != "":
		return &Error{kind, ErrDenied, err}
	case apierrors.IsNotFound(err):
		return NotFound(kind)
	case apierrors.IsAlreadyExists(err):
		return &Error{kind, ErrExists, err}
	case apierrors.IsInvalid(err):
		return &Error{kind, ErrConflict, err}
	case apierrors.IsForbidden(err), apierrors.IsRequestEntityTooLargeError(err):
		return &Error{kind, ErrRejected, err}
	}
	return &Error{kind, ErrUnavailable, err}
}

// denials mark the messages of errors that are the cluster's decision. Other 403 answers name this server's missing rights. Webhooks and
// policies choose their own codes.
var denials = []string{"exceeded quota: ", "failed quota: ", " denied the request", " denied request: ", "because it is being terminated"}

// denial returns the reason for which the cluster denies an object, or "".
func denial(err error) string {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return ""
	}
	message := status.Status().Message
	if !slices.ContainsFunc(denials, func(mark string) bool { return strings.Contains(message, mark) }) {
		return ""
	}
	for _, before := range []string{" is forbidden: ", " is invalid: : ", " is invalid: "} {
		if _, reason, found := strings.Cut(message, before); found {
			return reason
		}
	}
	return message
}

// Denial returns the reason of an ErrDenied in the cluster's words, or "".
func Denial(err error) string {
	if failed, ok := errors.AsType[*Error](err); ok && failed.Cause != nil {
		return denial(failed.Cause)
	}
	return ""
}
