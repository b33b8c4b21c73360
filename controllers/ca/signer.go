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
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// signer signs X.509 structures with one key and one algorithm. The same input yields the same bytes if the key is in memory.
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

// throwAways returns, for each algorithm, a signer whose key nobody trusts, for linting. Each key is made at its first use and
// cached, since an RSA key takes long to make. Signatures of all RSA sizes have the same algorithm.
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

// unsigned is a certificate or CRL without its signature (RFC 5280 sections 4.1 and 5.1).
type unsigned struct {
	tbs       []byte // the DER of the to-be-signed part
	algorithm []byte // the DER of the AlgorithmIdentifier
	// room is the array of a large CRL, or nil. tbs begins after maxHeader of its bytes.
	room []byte
}

// capturingSigner captures the message to sign instead of signing it.
type capturingSigner struct {
	public crypto.PublicKey
	tbs    []byte
}

var errCaptured = errors.New("captured, not signed")

// Public implements crypto.Signer.
func (k *capturingSigner) Public() crypto.PublicKey { return k.public }

// Sign implements crypto.Signer. crypto/x509 calls SignMessage instead.
func (k *capturingSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("a digest can't be captured")
}

// SignMessage implements crypto.MessageSigner.
func (k *capturingSigner) SignMessage(_ io.Reader, message []byte, _ crypto.SignerOpts) ([]byte, error) {
	k.tbs = bytes.Clone(message)
	return nil, errCaptured
}

// captureTBS returns the certificate or CRL that create encodes for an issuer with the public key, without a signature.
func captureTBS(public crypto.PublicKey, create func(crypto.Signer) ([]byte, error)) (unsigned, error) {
	k := &capturingSigner{public: public}
	if _, err := create(k); !errors.Is(err, errCaptured) {
		return unsigned{}, cmp.Or(err, errors.New("it was encoded without a signature"))
	}
	algorithm, err := algorithmIn(k.tbs)
	return unsigned{tbs: k.tbs, algorithm: algorithm}, err
}

// algorithmIn returns the AlgorithmIdentifier in the to-be-signed bytes: the first SEQUENCE, after version and serial number of a
// certificate, or after the version of a CRL. The signed structure repeats it.
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

// signChecked returns body with its signature, and verifies the signature: one that a hardware fault made wrong can reveal an
// RSA key.
func (s signer) signChecked(body unsigned) ([]byte, error) {
	signature, err := s.signature(body.tbs)
	if err != nil {
		return nil, err
	}
	verifier := x509.Certificate{PublicKey: s.key.Public()}
	if err := verifier.CheckSignature(s.algorithm, body.tbs, signature); err != nil {
		return nil, fmt.Errorf("the signature is wrong: %w", err)
	}
	return body.with(signature)
}

// sign returns body with its signature, without verifying the signature.
func (s signer) sign(body unsigned) ([]byte, error) {
	signature, err := s.signature(body.tbs)
	if err != nil {
		return nil, err
	}
	return body.with(signature)
}

// signature returns the signature over to-be-signed bytes.
//
// The random source is nil on purpose: ECDSA then follows RFC 6979, and RSA PKCS #1 v1.5 and Ed25519 need none. So the same
// bytes yield the same signature.
func (s signer) signature(tbs []byte) ([]byte, error) {
	signature, err := crypto.SignMessage(s.key, nil, tbs, s.hash)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return signature, nil
}

func (body unsigned) with(signature []byte) ([]byte, error) {
	if body.room != nil {
		return body.inRoom(signature)
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, len(body.tbs)+len(body.algorithm)+len(signature)+32))
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(body.tbs)
		b.AddBytes(body.algorithm)
		b.AddASN1BitString(signature)
	})
	return b.Bytes()
}

// inRoom writes the header of the signed structure before the to-be-signed bytes, and algorithm and signature after them.
func (body unsigned) inRoom(signature []byte) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddBytes(body.algorithm)
	b.AddASN1BitString(signature)
	end, err := b.Bytes()
	if err != nil {
		return nil, err
	}
	header := appendHeader(nil, len(body.tbs)+len(end))
	start := maxHeader - len(header)
	copy(body.room[start:], header)
	return append(body.room, end...)[start:], nil
}
