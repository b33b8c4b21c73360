package jws

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"math/big"
)

// verify reports whether a text was signed with the key, by the only algorithm that is accepted for it: RS256 and ECDSA (RFC 7518
// sections 3.3 and 3.4), or EdDSA (RFC 8037 section 3.1).
func (k *Key) verify(text, signature []byte) bool {
	switch public := k.public.(type) {
	case *rsa.PublicKey:
		digest := sha256.Sum256(text)
		return rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], signature) == nil
	case *ecdsa.PublicKey:
		return verifyECDSA(public, text, signature)
	case ed25519.PublicKey:
		return ed25519.Verify(public, text, signature)
	}
	return false
}

// verifyECDSA reports whether a signature is valid. A signature is R and S, each as long as the order of the curve.
func verifyECDSA(public *ecdsa.PublicKey, text, signature []byte) bool {
	bits := public.Params().BitSize
	size := (bits + 7) / 8
	if len(signature) != 2*size {
		return false
	}
	r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
	return ecdsa.Verify(public, digestFor(bits, text), r, s)
}

// digestFor returns the digest of a text that is signed with a key on a curve of a size: P-256, P-384 or P-521.
func digestFor(bits int, text []byte) []byte {
	switch bits {
	case 256:
		sum := sha256.Sum256(text)
		return sum[:]
	case 384:
		sum := sha512.Sum384(text)
		return sum[:]
	}
	sum := sha512.Sum512(text)
	return sum[:]
}
