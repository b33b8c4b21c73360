package perspective

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/controllers/validation"
)

// Path of the one resource. It has the version in it: what changes the meaning of a request or an answer gets a new one.
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
	kindChallenge kind = "challenge" // a challenge, and CAA
	kindCAA       kind = "caa"       // CAA alone
)

// request is one check to be done; the members are validation.Request's.
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

// caa says whether CAA is heeded, and who the CA is for it and for dns-persist-01.
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

// fault says what keeps a request from being acted on, or "".
func (r *request) fault() string {
	if r.Check != kindChallenge && r.Check != kindCAA {
		return fmt.Sprintf("check %q isn't known", acme.Printable(string(r.Check), 32))
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

// answer is what came of it.
type answer struct {
	// Request is the digest of the request's body, so that no answer is taken for that to another request.
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

// result takes an answer at its word, within bounds. Only one that says "valid" and names no problem is a success.
func (a *answer) result() validation.Result {
	r := validation.Result{Valid: a.Valid && a.Problem == nil, Record: bounded(a.Record)}
	if r.Valid {
		if a.Until != nil {
			r.Until = *a.Until
		}
		return r
	}
	r.Transient = a.Transient
	r.Problem = acme.NewProblem(acme.ServerInternal, "it names no reason")
	if a.Problem != nil {
		r.Problem = acme.NewProblem(acme.ProblemType(acme.Printable(string(a.Problem.Type), 32)), "%s", a.Problem.Detail)
	}
	return r
}

// bounded makes a record fit to be stored and shown, whoever wrote it.
func bounded(r validation.Record) validation.Record {
	return validation.Record{
		Time: r.Time, DurationMillis: max(r.DurationMillis, 0),
		Resolver: acme.Printable(r.Resolver, maxAddress), AddressUsed: acme.Printable(r.AddressUsed, maxAddress),
		Addresses: boundedList(r.Addresses, maxAddress),
		URLs:      boundedList(r.URLs, validation.MaxRecordURL),
		Records:   boundedList(r.Records, validation.MaxRecordDNSRecord),
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
