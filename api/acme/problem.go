package acme

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// ProblemType is the last part of an ACME error URN (RFC 8555 section 6.7), such as "badNonce".
type ProblemType string

// ProblemNamespace is what a ProblemType follows in a problem document's "type".
const ProblemNamespace = "urn:ietf:params:acme:error:"

// The registered error types: RFC 8555 section 6.7 and 9.7.4, RFC 9773 section 7.4, and the profiles draft.
const (
	AccountDoesNotExist     ProblemType = "accountDoesNotExist"
	AlreadyReplaced         ProblemType = "alreadyReplaced"
	AlreadyRevoked          ProblemType = "alreadyRevoked"
	BadCSR                  ProblemType = "badCSR"
	BadNonce                ProblemType = "badNonce"
	BadPublicKey            ProblemType = "badPublicKey"
	BadRevocationReason     ProblemType = "badRevocationReason"
	BadSignatureAlgorithm   ProblemType = "badSignatureAlgorithm"
	CAA                     ProblemType = "caa"
	Compound                ProblemType = "compound"
	Connection              ProblemType = "connection"
	DNSProblem              ProblemType = "dns"
	ExternalAccountRequired ProblemType = "externalAccountRequired"
	IncorrectResponse       ProblemType = "incorrectResponse"
	InvalidContact          ProblemType = "invalidContact"
	InvalidProfile          ProblemType = "invalidProfile"
	Malformed               ProblemType = "malformed"
	OrderNotReady           ProblemType = "orderNotReady"
	RateLimited             ProblemType = "rateLimited"
	RejectedIdentifier      ProblemType = "rejectedIdentifier"
	ServerInternal          ProblemType = "serverInternal"
	TLS                     ProblemType = "tls"
	Unauthorized            ProblemType = "unauthorized"
	UnsupportedContact      ProblemType = "unsupportedContact"
	UnsupportedIdentifier   ProblemType = "unsupportedIdentifier"
	UserActionRequired      ProblemType = "userActionRequired"
)

var problemTypes = []ProblemType{
	AccountDoesNotExist, AlreadyReplaced, AlreadyRevoked, BadCSR, BadNonce, BadPublicKey, BadRevocationReason, BadSignatureAlgorithm,
	CAA, Compound, Connection, DNSProblem, ExternalAccountRequired, IncorrectResponse, InvalidContact, InvalidProfile, Malformed,
	OrderNotReady, RateLimited, RejectedIdentifier, ServerInternal, TLS, Unauthorized, UnsupportedContact, UnsupportedIdentifier,
	UserActionRequired,
}

// ProblemTypes are all of them.
func ProblemTypes() []ProblemType { return slices.Clone(problemTypes) }

// Registered reports whether a type is one of those above.
func (t ProblemType) Registered() bool { return slices.Contains(problemTypes, t) }

// statuses holds the HTTP status of each type that isn't 400. RFC 8555 fixes few of them: unauthorized is 401 in
// section 7.3.6 for a deactivated account and 403 elsewhere, which WithStatus says where it matters.
var statuses = map[ProblemType]int{
	AlreadyReplaced:         http.StatusConflict,
	CAA:                     http.StatusForbidden,
	ExternalAccountRequired: http.StatusForbidden,
	OrderNotReady:           http.StatusForbidden,
	RateLimited:             http.StatusTooManyRequests,
	ServerInternal:          http.StatusInternalServerError,
	Unauthorized:            http.StatusForbidden,
	UserActionRequired:      http.StatusForbidden,
}

// Problem is a problem document (RFC 9457) with ACME's members (RFC 8555 section 6.7). It is an error, so that what
// fails deep inside can say to the client what was wrong.
type Problem struct {
	Type   ProblemType
	Detail string
	// Status is the HTTP status; zero inside a Subproblem, or where the document isn't an HTTP answer.
	Status int
	// Instance is a URL for the user to visit (RFC 8555 section 7.3.3).
	Instance string
	// Identifier is what a subproblem is about (RFC 8555 section 6.7.1).
	Identifier  *Identifier
	Subproblems []Problem
	// Algorithms lists what the server takes, with badSignatureAlgorithm (RFC 8555 section 6.2).
	Algorithms []string
}

// NewProblem makes a problem with the type's usual HTTP status.
func NewProblem(t ProblemType, format string, args ...any) *Problem {
	status, ok := statuses[t]
	if !ok {
		status = http.StatusBadRequest
	}
	return &Problem{Type: t, Status: status, Detail: Printable(fmt.Sprintf(format, args...), MaxDetail)}
}

// MaxDetail bounds a problem's detail in bytes, so that it fits into a status field.
const MaxDetail = 1024

// WithStatus returns the problem with another HTTP status.
func (p *Problem) WithStatus(status int) *Problem {
	p.Status = status
	return p
}

// About returns the problem with the identifier that it is about.
func (p *Problem) About(id Identifier) *Problem {
	p.Identifier = &id
	return p
}

func (p *Problem) Error() string { return string(p.Type) + ": " + p.Detail }

// URN is the "type" member of the document.
func (t ProblemType) URN() string { return ProblemNamespace + string(t) }

// Printable makes text from elsewhere fit to be shown: what isn't printable ASCII becomes '?' (no line breaks in logs,
// no escapes on terminals), and it is cut to limit bytes.
func Printable(s string, limit int) string {
	cut := len(s) > limit
	if cut {
		s = s[:max(limit-3, 0)]
	}
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return '?'
		}
		return r
	}, s)
	if cut {
		s += "..."
	}
	return s
}
