package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// KeyAlgorithm names an algorithm and a key size.
type KeyAlgorithm string

// The algorithms that GenerateKey supports.
const (
	ECDSAP256 KeyAlgorithm = "ECDSA-P256"
	ECDSAP384 KeyAlgorithm = "ECDSA-P384"
	RSA2048   KeyAlgorithm = "RSA-2048"
	RSA3072   KeyAlgorithm = "RSA-3072"
	RSA4096   KeyAlgorithm = "RSA-4096"
	Ed25519   KeyAlgorithm = "Ed25519"

	// ecdsaP521 is for the throw-away key beside a CA key on P-521, which users may bring.
	ecdsaP521 KeyAlgorithm = "ECDSA-P521"
)

// GenerateKey returns a new private key. It fails only for an unknown algorithm.
func GenerateKey(algorithm KeyAlgorithm) (crypto.Signer, error) {
	switch algorithm {
	case ECDSAP256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case ECDSAP384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case ecdsaP521:
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case RSA3072:
		return rsa.GenerateKey(rand.Reader, 3072)
	case RSA4096:
		return rsa.GenerateKey(rand.Reader, 4096)
	case Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return nil, fmt.Errorf("unknown key algorithm %q", algorithm)
}

// MarshalKeyPEM returns a private key as PKCS#8 (RFC 5958) in PEM, or the reference to a key that is not in memory.
func MarshalKeyPEM(key crypto.Signer) ([]byte, error) {
	if remote, ok := key.(interface{ KeyPEM() []byte }); ok {
		return remote.KeyPEM(), nil
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// maxKeyPEM bounds the PEM of a private key, in bytes. RSA with 16384 bits takes 13 KiB.
const maxKeyPEM = 16 << 10

// ParseKeyPEM returns the one private key in PEM text: PKCS#8, SEC1 (RFC 5915) or PKCS#1 (RFC 8017), since users bring their
// own. The error is a sentence for the author of the text, and never quotes the text.
func ParseKeyPEM(text []byte) (crypto.Signer, error) {
	if len(text) > maxKeyPEM {
		return nil, fmt.Errorf("the private key is larger than %d bytes", maxKeyPEM)
	}
	var key crypto.Signer
	for rest := text; ; {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		// openssl ecparam -genkey writes the curve's parameters before the key. The key names the curve too.
		if block.Type == "EC PARAMETERS" {
			continue
		}
		if key != nil {
			return nil, errors.New("the private key's PEM has more than one block")
		}
		var err error
		if key, err = parseKeyBlock(block); err != nil {
			return nil, err
		}
	}
	if key == nil {
		return nil, errors.New("the private key is not PEM text with a PRIVATE KEY block")
	}
	return key, nil
}

func parseKeyBlock(block *pem.Block) (crypto.Signer, error) {
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "ENCRYPTED PRIVATE KEY":
		return nil, errors.New("the private key is encrypted; store it decrypted")
	default:
		return nil, fmt.Errorf("the private key's PEM has a block of type %q instead of PRIVATE KEY", block.Type)
	}
	if block.Headers["DEK-Info"] != "" {
		return nil, errors.New("the private key is encrypted; store it decrypted")
	}
	if err != nil {
		return nil, fmt.Errorf("the private key cannot be read: %w", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("the private key cannot sign (%T)", key)
	}
	return signer, nil
}
