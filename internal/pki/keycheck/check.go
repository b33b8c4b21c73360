package keycheck

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
)

// Options opens what isn't allowed by itself.
type Options struct {
	// AllowP521 takes ECDSA keys on the curve P-521 too.
	AllowP521 bool
}

// Check returns why a public key should not be used, as a sentence for its owner, or nil. It takes RSA, ECDSA and Ed25519
// keys; every other kind is refused. It never panics, and takes well under a millisecond whatever the key.
func Check(pub crypto.PublicKey, o Options) error {
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		return checkRSA(pub)
	case *ecdsa.PublicKey:
		return checkECDSA(pub, o)
	case ed25519.PublicKey:
		return checkEd25519(pub)
	}
	return errors.New("the key is of an unknown kind; RSA, ECDSA and Ed25519 are known")
}

// Equal compares two public keys, of which either may be of a kind that can't be compared.
func Equal(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

func checkECDSA(pub *ecdsa.PublicKey, o Options) error {
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
	// A point off the curve, or at infinity, gives signatures that prove nothing (invalid-curve attacks).
	if _, err := pub.ECDH(); err != nil {
		return errors.New("the ECDSA key is not a point on its curve")
	}
	return nil
}
