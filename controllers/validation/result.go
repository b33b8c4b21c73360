package validation

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/acmeca/acmeca/api/acme"
)

// Result is the outcome of an attempt. Its zero value isn't a success.
type Result struct {
	// Valid is whether control was proved. Nothing else says so, the absence of a problem least of all.
	Valid bool
	// Problem says what went wrong; nil if and only if Valid.
	Problem *acme.Problem
	// Transient is whether another attempt may succeed without a change by the client: a timeout, a refused connection, SERVFAIL,
	// or a proof that may not be visible yet (RFC 8555 section 8.2).
	Transient bool
	// Cause is what the CA's own people have to know of a failure, and clients not: that of their machines' troubles.
	Cause string
	// Until is when the proof ceases to count by its own terms, after which nothing may be issued on it; zero for never.
	Until time.Time
	// Record of what was seen.
	Record Record
}

// Bounds of a Record: items in each list, and bytes in each item.
const (
	MaxRecordItems     = 16
	MaxRecordURL       = 512
	MaxRecordDNSRecord = 300
)

// Record is what an attempt saw, for people who look for the reason of a failure. It is bounded, and printable.
type Record struct {
	// Time at which the attempt began.
	Time time.Time `json:"time"`
	// DurationMillis is how long it took, in milliseconds.
	DurationMillis int64 `json:"durationMillis"`
	// Resolver is the DNS server that answered last, or failed to.
	Resolver string `json:"resolver,omitempty"`
	// Addresses that names resolved to, those included that may not be connected to.
	Addresses []string `json:"addresses,omitempty"`
	// AddressUsed is the address and port that was connected to last, or in vain.
	AddressUsed string `json:"addressUsed,omitempty"`
	// URLs that were fetched, redirects included.
	URLs []string `json:"urls,omitempty"`
	// Records are the DNS records that were seen, shortened: CNAME, TXT and CAA.
	Records []string `json:"records,omitempty"`
	// Perspectives are what was seen from elsewhere, of those that were waited for.
	Perspectives []PerspectiveRecord `json:"perspectives,omitempty"`
}

// PerspectiveRecord is what a perspective saw, in short.
type PerspectiveRecord struct {
	// Name of the perspective.
	Name string `json:"name"`
	// Valid is whether control was proved there.
	Valid bool `json:"valid"`
	// Problem says what went wrong there, or on the way there.
	Problem string `json:"problem,omitempty"`
	// DurationMillis is how long it took, in milliseconds.
	DurationMillis int64 `json:"durationMillis,omitempty"`
	// Resolver, Addresses and AddressUsed are as in a Record.
	Resolver    string   `json:"resolver,omitempty"`
	Addresses   []string `json:"addresses,omitempty"`
	AddressUsed string   `json:"addressUsed,omitempty"`
}

func (r *Record) addAddress(s string) { r.Addresses = appendBounded(r.Addresses, s, 64) }
func (r *Record) addURL(s string)     { r.URLs = appendBounded(r.URLs, s, MaxRecordURL) }
func (r *Record) addRecord(s string)  { r.Records = appendBounded(r.Records, s, MaxRecordDNSRecord) }

func appendBounded(list []string, item string, limit int) []string {
	if len(list) == MaxRecordItems {
		return list
	}
	return append(list, acme.Printable(item, limit))
}

// verdict is what a step of a validation comes to. Only proven is a success, and is returned in the one place of each
// step that has compared the proof, so that no error path can be taken for one.
type verdict int

const (
	unproven verdict = iota
	proven
)

// failure says why a step failed. Steps return it as a pointer of its own type, not as an error.
type failure struct {
	problem   *acme.Problem
	transient bool
}

func definite(t acme.ProblemType, format string, args ...any) *failure {
	return &failure{problem: acme.NewProblem(t, format, args...)}
}

// transient is a failure to connect that may be over soon.
func transient(format string, args ...any) *failure {
	return &failure{problem: acme.NewProblem(acme.Connection, format, args...), transient: true}
}

// notYet is a failure of a proof that may not be visible everywhere yet, which is tried again (RFC 8555 section 8.2).
func notYet(t acme.ProblemType, format string, args ...any) *failure {
	return &failure{problem: acme.NewProblem(t, format, args...), transient: true}
}

func conclude(got verdict, failed *failure) Result {
	if got == proven && failed == nil {
		return Result{Valid: true}
	}
	if failed == nil {
		failed = definite(acme.ServerInternal, "the validation ended without a verdict")
	}
	return Result{Problem: failed.problem, Transient: failed.transient}
}

// reason puts a network error into words of our own: the texts of errors can hold what the peer sent.
func reason(err error) string {
	var errno syscall.Errno
	var netErr net.Error
	var proxyErr proxyError
	switch {
	case errors.As(err, &proxyErr):
		return proxyErr.Error()
	case errors.Is(err, context.Canceled):
		return "the attempt was called off"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return "timed out"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed early"
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, net.ErrClosed):
		return "the connection was closed"
	}
	return ""
}
