package validation

import (
	"fmt"
	"slices"
	"time"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/controllers/validation/network"
)

// Result is the outcome of an attempt. The zero value is not a success.
type Result struct {
	// Valid is whether control was proved. No other field decides that: a Result without a problem may be invalid.
	Valid bool
	// Problem of a failed attempt; nil if and only if Valid.
	Problem *acme.Problem
	// Transient is whether another attempt may succeed without a change by the client: a timeout, a refused connection, SERVFAIL,
	// or a proof that may not be visible yet (RFC 8555 section 8.2).
	Transient bool
	// Cause of a failure on the CA's own side, for its operators. Clients never see it.
	Cause string
	// Until is the expiry of the proof by its own terms. No certificate may be issued after it. Zero means no expiry.
	Until time.Time
	// Record of the attempt's observations.
	Record Record
}

// Bounds of a Record: items in each list, and bytes in each item.
const (
	MaxRecordItems     = 16
	MaxRecordURL       = 512
	MaxRecordDNSRecord = 300
)

// Record holds the observations of an attempt, for people who diagnose a failure. It is bounded and printable.
type Record struct {
	// Time at which the attempt began.
	Time time.Time `json:"time"`
	// DurationMillis is the duration of the attempt, in milliseconds.
	DurationMillis int64 `json:"durationMillis"`
	// Resolver is the DNS server that was queried last.
	Resolver string `json:"resolver,omitempty"`
	// AuthoritativeServer is the authoritative server of a zone that was queried last.
	AuthoritativeServer string `json:"authoritativeServer,omitempty"`
	// Addresses that names resolved to, including denied ones.
	Addresses []string `json:"addresses,omitempty"`
	// AddressUsed is the address and port that was dialled last.
	AddressUsed string `json:"addressUsed,omitempty"`
	// URLs that were fetched, redirects included.
	URLs []string `json:"urls,omitempty"`
	// Records are the DNS records in the answers, shortened: CNAME, TXT and CAA.
	Records []string `json:"records,omitempty"`
	// Perspectives are the results of the remote perspectives that answered in time.
	Perspectives []PerspectiveRecord `json:"perspectives,omitempty"`
}

// PerspectiveRecord is the short record of a perspective.
type PerspectiveRecord struct {
	// Name of the perspective.
	Name string `json:"name"`
	// Valid is whether the perspective confirmed control.
	Valid bool `json:"valid"`
	// Problem of the perspective, or of the request to it.
	Problem string `json:"problem,omitempty"`
	// DurationMillis is the duration of the attempt, in milliseconds.
	DurationMillis int64 `json:"durationMillis,omitempty"`
	// The fields below are as in a Record.
	Resolver            string   `json:"resolver,omitempty"`
	AuthoritativeServer string   `json:"authoritativeServer,omitempty"`
	Addresses           []string `json:"addresses,omitempty"`
	AddressUsed         string   `json:"addressUsed,omitempty"`
}

func (r *Record) addAddress(s string) { r.Addresses = appendBounded(r.Addresses, s, 64) }
func (r *Record) addURL(s string)     { r.URLs = appendBounded(r.URLs, s, MaxRecordURL) }

// addRecord adds a DNS record, unless another server returned it before.
func (r *Record) addRecord(s string) {
	if !slices.Contains(r.Records, acme.Printable(s, MaxRecordDNSRecord)) {
		r.Records = appendBounded(r.Records, s, MaxRecordDNSRecord)
	}
}

func appendBounded(list []string, item string, limit int) []string {
	if len(list) == MaxRecordItems {
		return list
	}
	return append(list, acme.Printable(item, limit))
}

func (r *Record) addAnswer(ans network.Answer) {
	r.Resolver = ans.Server
	for _, name := range ans.Chain {
		r.addRecord("CNAME " + name)
	}
}

// verdict is the outcome of a step of a validation. Only proven is a success. Each step returns proven in one place alone, after
// it has compared the proof, so that no error path looks like a success.
type verdict int

const (
	unproven verdict = iota
	proven
)

// failure is the reason why a step failed. Steps return *failure, not error.
type failure struct {
	problem   *acme.Problem
	transient bool
}

// definite returns a failure that another attempt would repeat.
func definite(t acme.ProblemType, format string, args ...any) *failure {
	return &failure{problem: acme.NewProblem(t, format, args...)}
}

// transient returns a failure to connect that may pass.
func transient(format string, args ...any) *failure {
	return &failure{problem: acme.NewProblem(acme.Connection, format, args...), transient: true}
}

// notYet returns a transient failure for a proof that may not be visible yet (RFC 8555 section 8.2).
func notYet(t acme.ProblemType, format string, args ...any) *failure {
	return &failure{problem: acme.NewProblem(t, format, args...), transient: true}
}

// conclude returns the Result of a verdict and a failure.
func conclude(got verdict, failed *failure) Result {
	if got == proven && failed == nil {
		return Result{Valid: true}
	}
	if failed == nil {
		failed = definite(acme.ServerInternal, "the validation ended without a verdict")
	}
	return Result{Problem: failed.problem, Transient: failed.transient}
}

// guarded returns the result of a check, which fails if it panics: data from a hostile peer must not crash the controllers, and again at
// each restart.
func guarded(check func() Result) (result Result) {
	defer func() {
		if cause := recover(); cause != nil {
			result = conclude(unproven, definite(acme.ServerInternal, "the validation failed unexpectedly"))
			result.Cause = fmt.Sprintf("panic: %v", cause)
		}
	}()
	return check()
}
