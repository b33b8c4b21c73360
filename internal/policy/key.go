package policy

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/internal/pki"
)

// KeyOptions states the purpose of a key.
type KeyOptions struct {
	// Type is the type of the problem: badPublicKey for account keys (RFC 8555 section 6.2), badCSR for certificate keys (section
	// 7.4). The default is badPublicKey.
	Type acme.ProblemType
	// AllowP521 accepts ECDSA keys on the curve P-521.
	AllowP521 bool
}

// CheckKey refuses weak public keys. It accepts RSA with 2048 to 4096 bits, ECDSA on P-256 or P-384, and Ed25519, without known
// weaknesses.
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

// KeyFingerprint returns the SHA-256 of a public key's SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7), by which compromised keys are
// found. It fails for a kind of key that has no such encoding.
func KeyFingerprint(pub crypto.PublicKey) ([sha256.Size]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	return sha256.Sum256(der), nil
}
