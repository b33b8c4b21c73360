package ca

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
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

// keeper is a key that signs nothing: it keeps what it was to sign.
type keeper struct {
	public crypto.PublicKey
	tbs    []byte
}

var errKept = errors.New("kept, not signed")

// Public implements crypto.Signer.
func (k *keeper) Public() crypto.PublicKey { return k.public }

// Sign implements crypto.Signer. x509 hands whole messages to who can take them.
func (k *keeper) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("a digest can't be kept")
}

// SignMessage implements crypto.MessageSigner.
func (k *keeper) SignMessage(_ io.Reader, message []byte, _ crypto.SignerOpts) ([]byte, error) {
	k.tbs = bytes.Clone(message)
	return nil, errKept
}

// toBeSigned has x509 encode a certificate or CRL for the issuer with a public key, and gives what is to be signed of it.
func toBeSigned(public crypto.PublicKey, create func(crypto.Signer) ([]byte, error)) (signed, error) {
	k := &keeper{public: public}
	if _, err := create(k); !errors.Is(err, errKept) {
		return signed{}, cmp.Or(err, errors.New("it was made without a signature"))
	}
	algorithm, err := algorithmIn(k.tbs)
	return signed{k.tbs, algorithm}, err
}

// algorithmIn finds the AlgorithmIdentifier that stands in the to-be-signed bytes, and beside them again: the first SEQUENCE
// there, after version and serial number of a certificate, and after the version of a CRL.
func algorithmIn(tbs []byte) ([]byte, error) {
	var fields, field cryptobyte.String
	var tag cryptobyteasn1.Tag
	input := cryptobyte.String(tbs)
	if !input.ReadASN1(&fields, cryptobyteasn1.SEQUENCE) {
		return nil, errors.New("not the to-be-signed part of an X.509 structure")
	}
	for fields.ReadAnyASN1Element(&field, &tag) {
		if tag == cryptobyteasn1.SEQUENCE {
			return field, nil
		}
	}
	return nil, errors.New("the X.509 structure names no algorithm")
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
