package pki

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"slices"
)

// smallOrder lists the points whose order divides 8: their y coordinates, little-endian, without the sign bit. It includes
// the encodings that are not canonical. Anyone can sign for such a key.
var smallOrder = []string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
}

func checkEd25519(pub ed25519.PublicKey) error {
	if len(pub) != ed25519.PublicKeySize {
		return errors.New("the Ed25519 key does not have 32 bytes")
	}
	y := slices.Clone(pub)
	y[31] &= 0x7f
	if slices.Contains(smallOrder, hex.EncodeToString(y)) {
		return errors.New("the Ed25519 key is a point of small order, for which anyone can sign")
	}
	return nil
}
