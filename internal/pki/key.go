package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
)

// KeyOptions allows kinds of key that are refused by default.
type KeyOptions struct {
	// AllowP521 accepts ECDSA keys on the curve P-521.
	AllowP521 bool
}

// CheckKey returns an error if a public key is too weak to use. The error is a sentence for the key's owner. CheckKey accepts
// RSA, ECDSA and Ed25519 keys and refuses every other kind. It never panics, and takes well under a
// millisecond for any key, except for the first ECDSA key on each curve.
func CheckKey(pub crypto.PublicKey, o KeyOptions) error {
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		return checkRSA(pub)
	case *ecdsa.PublicKey:
		return checkECDSA(pub, o)
	case ed25519.PublicKey:
		return checkEd25519(pub)
	}
	return errors.New("the key is of an unknown kind; use RSA, ECDSA or Ed25519")
}

// EqualKeys reports whether two public keys are the same. Keys of a kind that cannot be compared are not equal.
func EqualKeys(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}
