package policy

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/internal/pki"
)

// KeyOptions says what a key is for.
type KeyOptions struct {
	// Type of the problem: badPublicKey, if empty, for account keys (RFC 8555 section 6.2), badCSR for those of certificates
	// (section 7.4).
	Type acme.ProblemType
	// AllowP521 takes ECDSA keys on the curve P-521 too.
	AllowP521 bool
}

// CheckKey says why a public key isn't good enough, or returns nil: RSA of 2048 to 4096 bits, ECDSA on P-256 or P-384, and
// Ed25519, without known weaknesses.
func CheckKey(pub crypto.PublicKey, o KeyOptions) *acme.Problem {
	err := pki.CheckKey(pub, pki.KeyOptions{AllowP521: o.AllowP521})
	if err == nil {
		return nil
	}
	kind := o.Type
	if kind == "" {
		kind = acme.BadPublicKey
	}
	return acme.NewProblem(kind, "%s", err)
}

// KeyFingerprint is the SHA-256 of a public key's SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7), by which keys are blocked.
// The error means that the key is of a kind which has none.
func KeyFingerprint(pub crypto.PublicKey) ([sha256.Size]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	return sha256.Sum256(der), nil
}
