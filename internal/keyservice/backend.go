// Package keyservice serves the protocol of key services (api/keyservice/v1alpha1) on a unix socket. A Backend holds the keys.
package keyservice

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"regexp"

	pb "github.com/acmeca/acmeca/api/keyservice/v1alpha1"
)

// Backend is a store of keys. Its methods may be called concurrently, and end when the context does if they can.
type Backend interface {
	// Name returns the kind and product of the store, for people.
	Name() string
	// Check returns an error if keys can't be used now.
	Check(ctx context.Context) error
	// Keys returns the keys with a name, or all keys for an empty name. A name that does not exist yields none.
	Keys(ctx context.Context, name string) ([]Key, error)
	// Sign signs a digest, or a message for Ed25519. ECDSA signatures are DER.
	Sign(ctx context.Context, name string, algorithm pb.Algorithm, input []byte) ([]byte, error)
}

// Generator is a Backend that can make keys.
type Generator interface {
	Backend
	// Generate makes a key. It returns ErrExists if the name is taken.
	Generate(ctx context.Context, name string, keyType pb.KeyType) (Key, error)
}

// Key is a key pair in a Backend.
type Key struct {
	Name   string
	Public crypto.PublicKey
}

// The errors of backends that have a status code. All others mean that a person must act.
var (
	// ErrNotFound is returned for a name that has no key.
	ErrNotFound = errors.New("there is no key with this name")
	// ErrExists is returned for a name that has a key.
	ErrExists = errors.New("there is a key with this name")
	// ErrUnavailable is returned for a fault that may pass: the caller tries again.
	ErrUnavailable = errors.New("the key store is unavailable")
	// ErrUnsupported is returned for an algorithm that the key does not have.
	ErrUnsupported = errors.New("the key does not sign with this algorithm")
)

// nameSyntax is that of the protocol.
var nameSyntax = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,190}[a-z0-9])?$`)

// ValidName reports whether the protocol permits the name of a key.
func ValidName(name string) bool { return nameSyntax.MatchString(name) }

// AlgorithmOf returns the algorithm with which a key signs.
func AlgorithmOf(public crypto.PublicKey) (pb.Algorithm, error) {
	switch key := public.(type) {
	case *rsa.PublicKey:
		return pb.Algorithm_ALGORITHM_RSA_PKCS1_SHA256, nil
	case ed25519.PublicKey:
		return pb.Algorithm_ALGORITHM_ED25519, nil
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256():
			return pb.Algorithm_ALGORITHM_ECDSA_P256_SHA256, nil
		case elliptic.P384():
			return pb.Algorithm_ALGORITHM_ECDSA_P384_SHA384, nil
		case elliptic.P521():
			return pb.Algorithm_ALGORITHM_ECDSA_P521_SHA512, nil
		}
	}
	return 0, fmt.Errorf("%w: no algorithm for a key of type %T", ErrUnsupported, public)
}

// HashOf returns the hash function of an algorithm; 0 for Ed25519, which signs messages.
func HashOf(algorithm pb.Algorithm) (crypto.Hash, error) {
	switch algorithm {
	case pb.Algorithm_ALGORITHM_RSA_PKCS1_SHA256, pb.Algorithm_ALGORITHM_ECDSA_P256_SHA256:
		return crypto.SHA256, nil
	case pb.Algorithm_ALGORITHM_ECDSA_P384_SHA384:
		return crypto.SHA384, nil
	case pb.Algorithm_ALGORITHM_ECDSA_P521_SHA512:
		return crypto.SHA512, nil
	case pb.Algorithm_ALGORITHM_ED25519:
		return 0, nil
	}
	return 0, fmt.Errorf("%w: unknown algorithm %d", ErrUnsupported, algorithm)
}

// TypeOf returns the type of a key.
func TypeOf(public crypto.PublicKey) pb.KeyType {
	switch key := public.(type) {
	case *rsa.PublicKey:
		return map[int]pb.KeyType{2048: pb.KeyType_KEY_TYPE_RSA_2048, 3072: pb.KeyType_KEY_TYPE_RSA_3072,
			4096: pb.KeyType_KEY_TYPE_RSA_4096}[key.N.BitLen()]
	case ed25519.PublicKey:
		return pb.KeyType_KEY_TYPE_ED25519
	case *ecdsa.PublicKey:
		return map[elliptic.Curve]pb.KeyType{elliptic.P256(): pb.KeyType_KEY_TYPE_ECDSA_P256,
			elliptic.P384(): pb.KeyType_KEY_TYPE_ECDSA_P384, elliptic.P521(): pb.KeyType_KEY_TYPE_ECDSA_P521}[key.Curve]
	}
	return pb.KeyType_KEY_TYPE_UNSPECIFIED
}
