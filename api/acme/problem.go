package acme

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// ProblemType is the last part of an ACME error URN, such as "badNonce" (RFC 8555 section 6.7).
type ProblemType string

// ProblemNamespace precedes a ProblemType in the "type" member of a problem document.
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

// ProblemTypes returns all registered types.
func ProblemTypes() []ProblemType { return slices.Clone(problemTypes) }

// Registered reports whether a type is registered.
func (t ProblemType) Registered() bool { return slices.Contains(problemTypes, t) }

// statuses maps types to their HTTP status, if it is not 400. RFC 8555 defines few of them. unauthorized is 403, but 401 for a
// deactivated account (section 7.3.6); callers use WithStatus for that.
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

// Problem is a problem document (RFC 9457) with the members of RFC 8555 section 6.7. It is also an error, so any function can return
// the answer for the client.
type Problem struct {
	Type   ProblemType
	Detail string
	// Status is the HTTP status. It is zero in a subproblem and in a problem that is not an HTTP answer.
	Status int
	// Instance is a URL for the user to visit (RFC 8555 section 7.3.3).
	Instance string
	// Identifier is the identifier that caused the problem (RFC 8555 section 6.7.1).
	Identifier  *Identifier
	Subproblems []Problem
	// Algorithms lists the accepted algorithms in a badSignatureAlgorithm problem (RFC 8555 section 6.2).
	Algorithms []string
}

// NewProblem returns a problem with the usual HTTP status of the type. The detail is made printable and cut to MaxDetail bytes.
func NewProblem(t ProblemType, format string, args ...any) *Problem {
	status, ok := statuses[t]
	if !ok {
		status = http.StatusBadRequest
	}
	return &Problem{Type: t, Status: status, Detail: Printable(fmt.Sprintf(format, args...), MaxDetail)}
}

// MaxDetail is the maximum length of a detail in bytes, the limit of the status field that stores it.
const MaxDetail = 1024

// WithStatus sets the HTTP status and returns p.
func (p *Problem) WithStatus(status int) *Problem {
	p.Status = status
	return p
}

// About sets the identifier and returns p.
func (p *Problem) About(id Identifier) *Problem {
	p.Identifier = &id
	return p
}

func (p *Problem) Error() string { return string(p.Type) + ": " + p.Detail }

// URN returns the "type" member of the problem document.
func (t ProblemType) URN() string { return ProblemNamespace + string(t) }

// Printable makes untrusted text safe to show in logs and on terminals. It replaces everything but printable ASCII by '?' and cuts
// the text to limit bytes.
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
