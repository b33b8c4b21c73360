package pki

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"fmt"
	"math/big"
	"sync"
)

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
	point, err := pub.ECDH()
	if err != nil {
		return errors.New("the ECDSA key is not a point on its curve")
	}
	if smallKeys[pub.Curve]()[x(point)] {
		return errors.New("the private key of the ECDSA key is a small number, which anybody can find")
	}
	return nil
}

// maxSmallKey is the greatest private key that is refused. Eight intermediate CAs had private keys below 256
// (https://bugzilla.mozilla.org/show_bug.cgi?id=2083449).
const maxSmallKey = 512

// smallKeys has the X coordinates of the public keys of small private keys. A private key and its negative have the same X. The
// table of a curve is made with the first key on that curve.
var smallKeys = map[elliptic.Curve]func() map[string]bool{
	elliptic.P256(): smallKeysOn(elliptic.P256(), ecdh.P256()),
	elliptic.P384(): smallKeysOn(elliptic.P384(), ecdh.P384()),
	elliptic.P521(): smallKeysOn(elliptic.P521(), ecdh.P521()),
}

func smallKeysOn(curve elliptic.Curve, of ecdh.Curve) func() map[string]bool {
	return sync.OnceValue(func() map[string]bool {
		table := make(map[string]bool, maxSmallKey)
		number := make([]byte, (curve.Params().N.BitLen()+7)/8)
		for d := int64(1); d <= maxSmallKey; d++ {
			key, err := of.NewPrivateKey(big.NewInt(d).FillBytes(number))
			if err != nil {
				panic(err) // d is between 0 and the order of the curve
			}
			table[x(key.PublicKey())] = true
		}
		return table
	})
}

// x returns the X coordinate of a point. Its encoding is the byte 4, X, and Y of the same length.
func x(point *ecdh.PublicKey) string {
	text := point.Bytes()
	return string(text[1 : 1+len(text)/2])
}
