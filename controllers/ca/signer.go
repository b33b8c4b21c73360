package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// signer signs X.509 structures with one key and one algorithm, always the same bytes for the same input.
type signer struct {
	key       crypto.Signer
	algorithm x509.SignatureAlgorithm
	hash      crypto.Hash
}

func newSigner(key crypto.Signer) (signer, error) {
	switch pub := key.Public().(type) {
	case *rsa.PublicKey:
		return signer{key, x509.SHA256WithRSA, crypto.SHA256}, nil
	case ed25519.PublicKey:
		return signer{key, x509.PureEd25519, 0}, nil
	case *ecdsa.PublicKey:
		switch pub.Curve {
		case elliptic.P256():
			return signer{key, x509.ECDSAWithSHA256, crypto.SHA256}, nil
		case elliptic.P384():
			return signer{key, x509.ECDSAWithSHA384, crypto.SHA384}, nil
		case elliptic.P521():
			return signer{key, x509.ECDSAWithSHA512, crypto.SHA512}, nil
		}
	}
	return signer{}, fmt.Errorf("a key of type %T cannot sign certificates here", key.Public())
}

// throwAways has a key for each algorithm that nobody trusts, to sign what is linted. They are made when first needed, and
// kept: RSA signs with the same algorithm whatever its size, and making a key takes it long.
var throwAways = map[x509.SignatureAlgorithm]func() (signer, error){
	x509.SHA256WithRSA:   throwAway(RSA2048),
	x509.ECDSAWithSHA256: throwAway(ECDSAP256),
	x509.ECDSAWithSHA384: throwAway(ECDSAP384),
	x509.ECDSAWithSHA512: throwAway(ecdsaP521),
	x509.PureEd25519:     throwAway(Ed25519),
}

func throwAway(algorithm KeyAlgorithm) func() (signer, error) {
	return sync.OnceValues(func() (signer, error) {
		key, err := GenerateKey(algorithm)
		if err != nil {
			return signer{}, err
		}
		return newSigner(key)
	})
}

// signed is the outer structure of a certificate and of a CRL alike (RFC 5280 sections 4.1 and 5.1).
type signed struct {
	tbs       []byte // the DER of what is signed
	algorithm []byte // the DER of the AlgorithmIdentifier
}

// splitSigned takes a certificate or CRL apart, leaving its signature behind.
func splitSigned(der []byte) (signed, error) {
	var outer, tbs, algorithm cryptobyte.String
	input := cryptobyte.String(der)
	if !input.ReadASN1(&outer, cryptobyteasn1.SEQUENCE) ||
		!outer.ReadASN1Element(&tbs, cryptobyteasn1.SEQUENCE) ||
		!outer.ReadASN1Element(&algorithm, cryptobyteasn1.SEQUENCE) {
		return signed{}, errors.New("not a signed X.509 structure")
	}
	return signed{tbs, algorithm}, nil
}

// signChecked is sign for a key that matters: it checks the signature, since one that went wrong, by a fault of the machine,
// can give an RSA key away.
func (s signer) signChecked(what signed) ([]byte, error) {
	signature, err := s.signature(what.tbs)
	if err != nil {
		return nil, err
	}
	verifier := x509.Certificate{PublicKey: s.key.Public()}
	if err := verifier.CheckSignature(s.algorithm, what.tbs, signature); err != nil {
		return nil, fmt.Errorf("the signature came out wrong: %w", err)
	}
	return what.with(signature)
}

// sign puts the structure together with the signature of this key.
func (s signer) sign(what signed) ([]byte, error) {
	signature, err := s.signature(what.tbs)
	if err != nil {
		return nil, err
	}
	return what.with(signature)
}

// signature of to-be-signed bytes.
//
// The source of randomness is nil on purpose: ECDSA is then RFC 6979's, and RSA PKCS #1 v1.5 and Ed25519 never need one,
// so a second signature over the same bytes is the same.
func (s signer) signature(tbs []byte) ([]byte, error) {
	signature, err := crypto.SignMessage(s.key, nil, tbs, s.hash)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return signature, nil
}

func (what signed) with(signature []byte) ([]byte, error) {
	der, err := asn1.Marshal(struct {
		TBS, Algorithm asn1.RawValue
		Signature      asn1.BitString
	}{
		asn1.RawValue{FullBytes: what.tbs},
		asn1.RawValue{FullBytes: what.algorithm},
		asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)},
	})
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return der, nil
}
