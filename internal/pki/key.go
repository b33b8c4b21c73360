package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
)

// KeyOptions allows kinds of key that are refused by default.
type KeyOptions struct {
	// AllowP521 accepts ECDSA keys on the curve P-521.
	AllowP521 bool
}

// CheckKey returns an error if a public key is too weak to use. The error is a sentence for the key's owner. CheckKey accepts
// RSA, ECDSA and Ed25519 keys and refuses every other kind. It never panics, and takes well under a millisecond for any key.
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

func checkECDSA(pub *ecdsa.PublicKey, o KeyOptions) error {
	if pub == nil || pub.Curve == nil || pub.X == nil || pub.Y == nil { //nolint:staticcheck // ECDH panics without them
		return errors.New("the ECDSA key is incomplete")
	}
	switch pub.Curve {
	case elliptic.P256(), elliptic.P384():
	case elliptic.P521():
		if !o.AllowP521 {
			return errors.New("the ECDSA key is on the curve P-521, which is not allowed here; use P-256 or P-384")
		}
	default:
		return fmt.Errorf("the ECDSA key is on the curve %s; use P-256 or P-384", pub.Params().Name)
	}
	// A point off the curve, or at infinity, makes signatures that prove nothing (invalid-curve attacks).
	if _, err := pub.ECDH(); err != nil {
		return errors.New("the ECDSA key is not a point on its curve")
	}
	return nil
}
