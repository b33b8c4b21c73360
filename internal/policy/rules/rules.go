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

// Rule is an expression that must be true of what an account asks for.
type Rule struct {
	// Expression in CEL, of type bool.
	Expression string
	// Message for the client where it is false; "" for one that quotes nothing.
	Message string
}

// Request is what rules are about. What isn't known yet is left out, and then rules that name it aren't asked.
type Request struct {
	// AccountID is the account's name, Contact its contact URLs.
	AccountID string
	Contact   []string
	// ExternalAccountKeyID is that of the key that bound the account, "" for none.
	ExternalAccountKeyID string
	// Identifiers, normalized.
	Identifiers []acme.Identifier
	// Profile of the order; "" where there is no order yet.
	Profile string
	// CSR of the order, once it is there.
	CSR *x509.CertificateRequest
}

// Set is rules that are ready for use. One that exists is valid; nil has none.
type Set struct{ rules []compiled }

type compiled struct {
	program cel.Program
	message string
	// profile and csr say whether the rule names these variables.
	profile, csr bool
}

// Error is why a rule can't be used.
type Error struct {
	// Index of the rule.
	Index int
	// Reason is a sentence for the person who wrote it.
	Reason string
}

func (e *Error) Error() string { return fmt.Sprintf("rule %d: %s", e.Index, e.Reason) }

// Check gives nil where every rule that can be asked is true, or a problem with the message of the first that isn't: a
// badCSR where it is about the CSR, and else a rejectedIdentifier.
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
		case err != nil: // such as an index that isn't there; what isn't shown to be allowed is refused
			return acme.NewProblem(kind, "rule %d of this issuer's policy can't be evaluated for this request: %s", i+1, acme.Printable(err.Error(), 200))
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
		return false, errors.New("it is neither true nor false")
	}
	return satisfied, nil
}

// The variables of expressions, and their types.
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

// keyOf names a key's algorithm, and its size in bits.
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
