package perspective

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/controllers/validation"
)

// Path of the only resource. It contains the version, which changes with the meaning of requests or answers.
const Path = "/v1/check"

const contentType = "application/json"

// Bounds of the messages, in bytes, and of the lists in a request.
const (
	maxRequest = 64 << 10
	maxAnswer  = 64 << 10
	maxList    = 64
)

// kind of check.
type kind string

const (
	kindChallenge kind = "challenge" // a challenge and CAA
	kindCAA       kind = "caa"       // CAA alone
)

// request is one check. The members are those of validation.Request.
type request struct {
	Check             kind               `json:"check"`
	Identifier        acme.Identifier    `json:"identifier"`
	Wildcard          bool               `json:"wildcard,omitempty"`
	Type              acme.ChallengeType `json:"type"`
	Token             string             `json:"token,omitempty"`
	Thumbprint        string             `json:"thumbprint,omitempty"`
	AccountURIs       []string           `json:"accountURIs,omitempty"`
	FormerThumbprints []string           `json:"formerThumbprints,omitempty"`
	HashPrefixes      []string           `json:"hashPrefixes,omitempty"`
	CAA               caa                `json:"caa"`
}

// caa is whether CAA is enforced, with the CA's identities for CAA and dns-persist-01.
type caa struct {
	Enforce    bool     `json:"enforce,omitempty"`
	Identities []string `json:"identities,omitempty"`
}

func (r *request) validation() validation.Request {
	return validation.Request{
		Identifier: r.Identifier, Wildcard: r.Wildcard, Type: r.Type, Token: r.Token, Thumbprint: r.Thumbprint,
		AccountURIs: r.AccountURIs, FormerThumbprints: r.FormerThumbprints, HashPrefixes: r.HashPrefixes,
	}
}

// fault returns the reason why a request is invalid, or "".
func (r *request) fault() string {
	if r.Check != kindChallenge && r.Check != kindCAA {
		return fmt.Sprintf("check %q is not supported", acme.Printable(string(r.Check), 32))
	}
	for name, list := range map[string][]string{
		"accountURIs": r.AccountURIs, "formerThumbprints": r.FormerThumbprints, "hashPrefixes": r.HashPrefixes,
		"caa.identities": r.CAA.Identities,
	} {
		if len(list) > maxList {
			return fmt.Sprintf("%s has more than %d items", name, maxList)
		}
	}
	return ""
}

// answer is the result of a request.
type answer struct {
	// Request is the digest of the request's body, so that an answer to another request is rejected.
	Request   string            `json:"request"`
	Valid     bool              `json:"valid"`
	Problem   *problem          `json:"problem,omitempty"`
	Transient bool              `json:"transient,omitempty"`
	Until     *time.Time        `json:"until,omitempty"`
	Record    validation.Record `json:"record"`
}

type problem struct {
	Type   acme.ProblemType `json:"type"`
	Detail string           `json:"detail"`
}

func digest(body []byte) string {
	sum := sha256.Sum256(body)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func answerFrom(body []byte, r validation.Result) answer {
	a := answer{Request: digest(body), Valid: r.Valid, Transient: r.Transient, Record: r.Record}
	if r.Problem != nil {
		a.Problem = &problem{r.Problem.Type, r.Problem.Detail}
	}
	if !r.Until.IsZero() {
		a.Until = &r.Until
	}
	return a
}

// result returns the Result of an answer, with bounded texts. Only a valid answer without a problem is a success.
func (a *answer) result() validation.Result {
	r := validation.Result{Valid: a.Valid && a.Problem == nil, Record: bounded(a.Record)}
	if r.Valid {
		if a.Until != nil {
			r.Until = *a.Until
		}
		return r
	}
	r.Transient = a.Transient
	r.Problem = acme.NewProblem(acme.ServerInternal, "the perspective gave no reason")
	if a.Problem != nil {
		r.Problem = acme.NewProblem(acme.ProblemType(acme.Printable(string(a.Problem.Type), 32)), "%s", a.Problem.Detail)
	}
	return r
}

// bounded returns a record with bounded and printable texts.
func bounded(r validation.Record) validation.Record {
	return validation.Record{
		Time: r.Time, DurationMillis: max(r.DurationMillis, 0),
		Resolver: acme.Printable(r.Resolver, maxAddress), AuthoritativeServer: acme.Printable(r.AuthoritativeServer, maxAddress),
		AddressUsed: acme.Printable(r.AddressUsed, maxAddress),
		Addresses:   boundedList(r.Addresses, maxAddress),
		URLs:        boundedList(r.URLs, validation.MaxRecordURL),
		Records:     boundedList(r.Records, validation.MaxRecordDNSRecord),
	}
}

// maxAddress bounds an address, with or without a port, in bytes.
const maxAddress = 64

func boundedList(list []string, limit int) []string {
	var out []string
	for _, item := range list[:min(len(list), validation.MaxRecordItems)] {
		out = append(out, acme.Printable(item, limit))
	}
	return out
}
