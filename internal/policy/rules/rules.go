package rules

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/google/cel-go/cel"

	"github.com/acmeca/acmeca/api/acme"
)

// Rule is an expression that must be true of a request.
type Rule struct {
	// Expression in CEL, of type bool.
	Expression string
	// Message is shown to the client if the expression is false. The default names the number of the rule.
	Message string
}

// Request contains the values of the variables. Rules that use a value which is not known yet are skipped.
type Request struct {
	// AccountID is the account's name, and Contact its contact URLs.
	AccountID string
	Contact   []string
	// ExternalAccountKeyID is the ID of the external account key, or "".
	ExternalAccountKeyID string
	// Identifiers are normalized.
	Identifiers []acme.Identifier
	// Profile is the profile of the order, or "" if there is no order yet.
	Profile string
	// CSR is the CSR of the order, or nil before finalization.
	CSR *x509.CertificateRequest
}

// Set is a set of compiled rules. A nil Set is empty.
type Set struct{ rules []compiled }

type compiled struct {
	program cel.Program
	message string
	// profile and csr are true if the rule uses the variable.
	profile, csr bool
}

// Error explains why a rule is invalid.
type Error struct {
	// Index of the rule.
	Index int
	// Reason is a sentence for the author of the rule.
	Reason string
}

func (e *Error) Error() string { return fmt.Sprintf("rule %d: %s", e.Index, e.Reason) }

// Check evaluates the rules, and returns a problem with the message of the first that is false: badCSR if the rule uses the CSR, and
// otherwise rejectedIdentifier.
func (s *Set) Check(r Request) *acme.Problem {
	if s == nil || len(s.rules) == 0 {
		return nil
	}
	variables := map[string]any{
		varAccount: account{ID: r.AccountID, Contact: r.Contact, ExternalAccountKeyID: r.ExternalAccountKeyID}, varProfile: r.Profile,
	}
	identifiers := make([]identifier, len(r.Identifiers))
	for i, id := range r.Identifiers {
		identifiers[i] = identifier{Type: string(id.Type), Value: id.Value, Wildcard: id.Wildcard()}
	}
	variables[varIdentifiers] = identifiers
	if r.CSR != nil {
		variables[varCSR] = requestOf(r.CSR)
	}
	for i, rule := range s.rules {
		if rule.profile && r.Profile == "" || rule.csr && r.CSR == nil {
			continue
		}
		kind := acme.RejectedIdentifier
		if rule.csr {
			kind = acme.BadCSR
		}
		satisfied, err := rule.evaluate(variables)
		switch {
		case err != nil: // such as an index out of range
			return acme.NewProblem(kind, "rule %d of this issuer's policy cannot be evaluated for this request: %s", i+1, acme.Printable(err.Error(), 200))
		case !satisfied && rule.message != "":
			return acme.NewProblem(kind, "%s", rule.message)
		case !satisfied:
			return acme.NewProblem(kind, "rule %d of this issuer's policy refuses the request", i+1)
		}
	}
	return nil
}

func (c compiled) evaluate(variables map[string]any) (bool, error) {
	value, _, err := c.program.Eval(variables)
	if err != nil {
		return false, err
	}
	satisfied, ok := value.Value().(bool)
	if !ok {
		return false, errors.New("the result is not a bool")
	}
	return satisfied, nil
}

// The variables of expressions and their types.
const (
	varAccount     = "account"
	varIdentifiers = "identifiers"
	varProfile     = "profile"
	varCSR         = "csr"
)

type account struct {
	ID                   string   `cel:"id"`
	Contact              []string `cel:"contact"`
	ExternalAccountKeyID string   `cel:"externalAccountKeyID"`
}

type identifier struct {
	Type     string `cel:"type"`
	Value    string `cel:"value"`
	Wildcard bool   `cel:"wildcard"`
}

type request struct {
	KeyAlgorithm string `cel:"keyAlgorithm"`
	KeySize      int    `cel:"keySize"`
	CommonName   string `cel:"commonName"`
}

func requestOf(csr *x509.CertificateRequest) request {
	algorithm, size := keyOf(csr.PublicKey)
	return request{KeyAlgorithm: algorithm, KeySize: size, CommonName: csr.Subject.CommonName}
}

// keyOf returns a key's algorithm and its size in bits.
func keyOf(key crypto.PublicKey) (algorithm string, size int) {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return "RSA", key.N.BitLen()
	case *ecdsa.PublicKey:
		return "ECDSA", key.Curve.Params().BitSize
	case ed25519.PublicKey:
		return "Ed25519", 8 * len(key)
	}
	return "", 0
}
