package jws

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/acmeca/acmeca/api/acme"
)

// The accepted sizes of RSA keys in bits. The upper bound also bounds the cost of verifying a signature.
const (
	MinRSABits = 2048
	MaxRSABits = 4096
)

// maxKeyJSON bounds a JWK in bytes. An RSA-4096 JWK takes about 730 in its shortest form.
const maxKeyJSON = 8 << 10

// jwkMembers lists the members that define a public key, by key type: those that RFC 7638 section 3.2 and RFC 8037 section 2
// digest, in order. All other members describe the key and are ignored.
var jwkMembers = map[string][]string{
	"EC":  {"crv", "kty", "x", "y"},
	"OKP": {"crv", "kty", "x"},
	"RSA": {"e", "kty", "n"},
}

// jwkCurves lists the accepted values of "crv" by key type.
var jwkCurves = map[string][]string{
	"EC":  {"P-256", "P-384", "P-521"},
	"OKP": {"Ed25519"},
}

// privateMembers are refused in a public key (RFC 7518 section 6.2.2, 6.3.2 and 6.4.1, RFC 9964).
var privateMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"}

// Key is a public key of an accepted type and size. Package policy checks for known weak keys.
type Key struct {
	public    crypto.PublicKey
	algorithm jose.SignatureAlgorithm
	canonical []byte
}

// ParseKey reads a JWK (RFC 7517). The problem is malformed if the data is not a JWK. It is badPublicKey if the key is not
// accepted (RFC 8555 section 6.2): private, symmetric, of another type or curve, of the wrong size, or not a valid point.
func ParseKey(data []byte) (*Key, *acme.Problem) {
	if len(data) > maxKeyJSON {
		return nil, malformed("the JWK is larger than %d bytes", maxKeyJSON)
	}
	canonical, problem := canonicalJWK(data)
	if problem != nil {
		return nil, problem
	}
	// go-jose gets only the members of a public key, because it would also parse private keys and certificates.
	var parsed jose.JSONWebKey
	if err := parsed.UnmarshalJSON(canonical); err != nil {
		return nil, badKey("the key is not accepted: %s", reason(err))
	}
	key := &Key{public: parsed.Key, algorithm: algorithmFor(parsed.Key), canonical: canonical}
	if key.algorithm == "" {
		return nil, badKey("the type of key is not accepted")
	}
	if public, ok := key.public.(*rsa.PublicKey); ok {
		if problem := checkRSA(public); problem != nil {
			return nil, problem
		}
	}
	// The client computes the thumbprint of the JWK that it sent. Another encoding, such as leading zeros, has another thumbprint.
	if !bytes.Equal(rewritten(parsed), canonical) {
		return nil, badKey("the numbers of the key are not encoded as RFC 7518 section 6 requires, without leading zero octets")
	}
	return key, nil
}

// NewKey returns the Key of a public key: *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey. The problem is badPublicKey
// for other types and unaccepted sizes.
func NewKey(public crypto.PublicKey) (*Key, *acme.Problem) {
	if algorithmFor(public) == "" {
		return nil, badKey("the type of key is not accepted")
	}
	data, err := jose.JSONWebKey{Key: public}.MarshalJSON()
	if err != nil {
		return nil, badKey("the key is not accepted: %s", reason(err))
	}
	return ParseKey(data)
}

// canonicalJWK returns the canonical form of a JWK (RFC 7638 section 3): the defining members in order, without white space.
func canonicalJWK(data []byte) ([]byte, *acme.Problem) {
	jwk, problem := parseObject("the JWK", data)
	if problem != nil {
		return nil, problem
	}
	kty, problem := jwk.text("kty")
	if problem != nil {
		return nil, problem
	}
	names, ok := jwkMembers[kty]
	if !ok {
		return nil, badKey("key type %q is not accepted; use \"RSA\", \"EC\" or \"OKP\"", acme.Printable(kty, 32))
	}
	for _, name := range privateMembers {
		if jwk.has(name) {
			return nil, badKey("the JWK has %q, which is part of the private key; the key is no longer secret, so do not use it again", name)
		}
	}
	fields := make([]string, len(names))
	for i, name := range names {
		value, problem := jwk.text(name)
		if problem != nil {
			return nil, problem
		}
		if problem := checkMember(kty, name, value); problem != nil {
			return nil, problem
		}
		// The value is a known word or base64url, so it needs no escaping.
		fields[i] = fmt.Sprintf("%q:%q", name, value)
	}
	return []byte("{" + strings.Join(fields, ",") + "}"), nil
}

// checkMember checks the value of a defining member of a JWK of type kty.
func checkMember(kty, name, value string) *acme.Problem {
	switch name {
	case "kty":
		return nil
	case "crv":
		if !slices.Contains(jwkCurves[kty], value) {
			return badKey("curve %q is not accepted; use one of %v", acme.Printable(value, 32), jwkCurves[kty])
		}
		return nil
	}
	number, problem := decode("\""+name+"\" in the JWK", value)
	if problem != nil || name != "n" {
		return problem
	}
	// go-jose refuses some sizes without naming the size as the fault.
	return checkRSABits(new(big.Int).SetBytes(number).BitLen())
}

func checkRSABits(bits int) *acme.Problem {
	if bits < MinRSABits || bits > MaxRSABits {
		return badKey("the RSA key has %d bits; use %d to %d", bits, MinRSABits, MaxRSABits)
	}
	return nil
}

// checkRSA checks a key whose size was checked.
func checkRSA(public *rsa.PublicKey) *acme.Problem {
	switch bits := public.N.BitLen(); {
	case bits%8 != 0:
		return badKey("the RSA key has %d bits, which is not a multiple of 8", bits)
	case public.N.Bit(0) == 0:
		return badKey("the RSA key's modulus is even")
	case public.E < 3 || public.E%2 == 0 || public.E > 1<<31-1:
		return badKey("the RSA key's exponent is not an odd number from 3 to 2^31-1")
	}
	return nil
}

// rewritten returns the canonical form of a key as go-jose encodes it, or nil.
func rewritten(jwk jose.JSONWebKey) []byte {
	data, err := jwk.MarshalJSON()
	if err != nil {
		return nil
	}
	canonical, problem := canonicalJWK(data)
	if problem != nil {
		return nil
	}
	return canonical
}

func badKey(format string, args ...any) *acme.Problem {
	return acme.NewProblem(acme.BadPublicKey, format, args...)
}

// Public returns the key for Go's crypto packages: *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey.
func (k *Key) Public() crypto.PublicKey { return k.public }

// Algorithm returns the only "alg" value accepted for the key.
func (k *Key) Algorithm() string { return string(k.algorithm) }

// JSON returns the key as a JWK in the canonical form of RFC 7638 section 3, so equal keys have equal text.
func (k *Key) JSON() []byte { return slices.Clone(k.canonical) }

// Thumbprint returns the SHA-256 thumbprint of the key (RFC 7638), base64url. Key authorizations contain it (RFC 8555 section
// 8.1).
func (k *Key) Thumbprint() string {
	sum := sha256.Sum256(k.canonical)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Equal reports whether both keys are the same. A nil key equals no key.
func (k *Key) Equal(other *Key) bool {
	return k != nil && other != nil && slices.Equal(k.canonical, other.canonical)
}
