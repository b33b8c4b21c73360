package jws

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/acmeca/acmeca/api/acme"
)

// The sizes of an RSA key in bits. The upper bound also bounds what a signature costs to verify.
const (
	MinRSABits = 2048
	MaxRSABits = 4096
)

// maxKeyJSON bounds a JWK in bytes; one of RSA with 4096 bits takes about 730 in its shortest form.
const maxKeyJSON = 8 << 10

// jwkMembers lists what makes up a public key of each accepted type: the members that RFC 7638 section 3.2 and RFC 8037
// section 2 digest, in the order in which they are digested. All others are descriptions of it and are not looked at.
var jwkMembers = map[string][]string{
	"EC":  {"crv", "kty", "x", "y"},
	"OKP": {"crv", "kty", "x"},
	"RSA": {"e", "kty", "n"},
}

// jwkCurves lists the accepted values of "crv".
var jwkCurves = map[string][]string{
	"EC":  {"P-256", "P-384", "P-521"},
	"OKP": {"Ed25519"},
}

// privateMembers must not be in a public key (RFC 7518 section 6.2.2, 6.3.2 and 6.4.1, RFC 9964).
var privateMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"}

// Key is a public key that requests may be signed with. One that exists is of an accepted type and size; whether it is a
// known weak key is for policy to say.
type Key struct {
	public    crypto.PublicKey
	algorithm jose.SignatureAlgorithm
	canonical []byte
}

// ParseKey reads a JWK (RFC 7517). The problem is malformed for what isn't a JWK, and badPublicKey for a key that isn't
// accepted (RFC 8555 section 6.2): private, symmetric, of another type or curve, of the wrong size, or not a valid point.
func ParseKey(data []byte) (*Key, *acme.Problem) {
	if len(data) > maxKeyJSON {
		return nil, malformed("the JWK is larger than %d bytes", maxKeyJSON)
	}
	canonical, problem := canonicalJWK(data)
	if problem != nil {
		return nil, problem
	}
	// go-jose is shown nothing but the members of a public key: it would also read private keys and certificates.
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
	// A client digests the JWK that it sent, so one written in another way (leading zeros) would have another thumbprint.
	if !bytes.Equal(rewritten(parsed), canonical) {
		return nil, badKey("the key's numbers are not in the form of RFC 7518 section 6 (no leading zero octets)")
	}
	return key, nil
}

// NewKey makes a Key of a public key that is held already: *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey.
// Others, and those of a size that isn't accepted, are a badPublicKey problem.
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

// canonicalJWK writes the members of a public key as RFC 7638 section 3 does: in order, without white space.
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
		return nil, badKey("key type %q is not accepted, only \"RSA\", \"EC\" and \"OKP\" are", acme.Printable(kty, 32))
	}
	for _, name := range privateMembers {
		if jwk.has(name) {
			return nil, badKey("the JWK has %q, a part of a private key; a key that was sent is not secret any more", name)
		}
	}
	fields := make([]string, len(names))
	for i, name := range names {
		value, problem := jwk.text(name)
		if problem != nil {
			return nil, problem
		}
		switch name {
		case "kty":
		case "crv":
			if !slices.Contains(jwkCurves[kty], value) {
				return nil, badKey("curve %q is not accepted; these are: %v", acme.Printable(value, 32), jwkCurves[kty])
			}
		default:
			if _, problem := decode("\""+name+"\" in the JWK", value); problem != nil {
				return nil, problem
			}
		}
		// Each of them is a known word or base64url by now, and needs no escape.
		fields[i] = fmt.Sprintf("%q:%q", name, value)
	}
	return []byte("{" + strings.Join(fields, ",") + "}"), nil
}

func checkRSA(public *rsa.PublicKey) *acme.Problem {
	switch bits := public.N.BitLen(); {
	case bits < MinRSABits || bits > MaxRSABits:
		return badKey("the RSA key has %d bits; %d to %d are accepted", bits, MinRSABits, MaxRSABits)
	case bits%8 != 0:
		return badKey("the RSA key has %d bits, which is not a multiple of 8", bits)
	case public.N.Bit(0) == 0:
		return badKey("the RSA key's modulus is even")
	case public.E < 3 || public.E%2 == 0 || public.E > 1<<31-1:
		return badKey("the RSA key's exponent is not an odd number from 3 to 2^31-1")
	}
	return nil
}

// rewritten is the canonical form of a key as go-jose writes it, or nil.
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

// Public is the key for Go's crypto packages: *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey.
func (k *Key) Public() crypto.PublicKey { return k.public }

// Algorithm is the one "alg" value that the key is used with.
func (k *Key) Algorithm() string { return string(k.algorithm) }

// JSON is the key as a JWK in the one form that RFC 7638 section 3 defines, so that equal keys have equal text.
func (k *Key) JSON() []byte { return slices.Clone(k.canonical) }

// Thumbprint is the key's SHA-256 digest (RFC 7638), base64url: what key authorizations are made of (RFC 8555 section 8.1).
func (k *Key) Thumbprint() string {
	sum := sha256.Sum256(k.canonical)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Equal reports whether both are the same public key. No key equals a nil one.
func (k *Key) Equal(other *Key) bool {
	return k != nil && other != nil && slices.Equal(k.canonical, other.canonical)
}
