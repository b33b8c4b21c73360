// Package jwstest signs requests for tests, right ones and wrong ones: it puts into the protected header whatever it is
// told to, and never looks whether that makes sense. Nothing but tests may import it.
package jwstest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"hash"
	"maps"
	"testing"

	"github.com/acmeca/acmeca/internal/jws"
)

// Header is a protected header. Sign adds the key's "alg" where it has none; a value of Omit leaves a member out.
type Header = map[string]any

// Omit is the value of a member that is to be left out, such as the "alg" that would be added.
var Omit = new(struct{ omit bool })

// NewKey makes a key for one of jws.Algorithms.
func NewKey(t testing.TB, algorithm string) crypto.Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch algorithm {
	case "RS256":
		key, err = rsa.GenerateKey(rand.Reader, jws.MinRSABits)
	case "ES256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		t.Fatalf("no algorithm %q", algorithm)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// JWK is the public half of a key, as JSON.
func JWK(t testing.TB, key crypto.Signer) json.RawMessage {
	t.Helper()
	return Key(t, key).JSON()
}

// Key is the public half of a key.
func Key(t testing.TB, key crypto.Signer) *jws.Key {
	t.Helper()
	public, problem := jws.NewKey(key.Public())
	if problem != nil {
		t.Fatal(problem)
	}
	return public
}

// Sign makes a flattened JWS. The payload is written as JSON, []byte and json.RawMessage as they are, and nil as the
// empty payload of a POST-as-GET.
func Sign(t testing.TB, key crypto.Signer, header Header, payload any) []byte {
	t.Helper()
	return sign(t, key, Encode(t, withAlgorithm(header, Key(t, key).Algorithm())), Encode(t, payload))
}

// SignRaw is Sign with the exact text of a protected header, such as one with a member twice.
func SignRaw(t testing.TB, key crypto.Signer, header string, payload any) []byte {
	t.Helper()
	return sign(t, key, base64URL([]byte(header)), Encode(t, payload))
}

func sign(t testing.TB, key crypto.Signer, protected, payload string) []byte {
	t.Helper()
	return Flatten(t, protected, payload, base64URL(signature(t, key, []byte(protected+"."+payload))))
}

// MAC returns a flattened JWS with an HMAC. An external account binding is one, and a request must not be one. The header's
// "alg" chooses the digest; HS256 is added if the header has none.
func MAC(t testing.TB, key []byte, header Header, payload any) []byte {
	t.Helper()
	header = withAlgorithm(header, "HS256")
	digest := map[any]func() hash.Hash{"HS384": sha512.New384, "HS512": sha512.New}[header["alg"]]
	if digest == nil {
		digest = sha256.New
	}
	protected, body := Encode(t, header), Encode(t, payload)
	mac := hmac.New(digest, key)
	mac.Write([]byte(protected + "." + body))
	return Flatten(t, protected, body, base64URL(mac.Sum(nil)))
}

// ExternalAccountBinding makes the binding of an account key (RFC 8555 section 7.3.4), with HS256.
func ExternalAccountBinding(t testing.TB, hmacKey []byte, keyID, url string, account crypto.Signer) json.RawMessage {
	t.Helper()
	return MAC(t, hmacKey, Header{"kid": keyID, "url": url}, JWK(t, account))
}

// KeyChange makes the inner request of a key change (RFC 8555 section 7.3.5), to be signed by the old key as a payload.
func KeyChange(t testing.TB, newKey, oldKey crypto.Signer, account, url string) json.RawMessage {
	t.Helper()
	return Sign(t, newKey, Header{"jwk": JWK(t, newKey), "url": url}, map[string]any{"account": account, "oldKey": JWK(t, oldKey)})
}

// Encode writes a header or payload in base64url, as Sign does.
func Encode(t testing.TB, value any) string {
	t.Helper()
	switch value := value.(type) {
	case nil:
		return ""
	case []byte:
		return base64URL(value)
	case json.RawMessage:
		return base64URL(value)
	case Header:
		value = maps.Clone(value)
		maps.DeleteFunc(value, func(_ string, v any) bool { return v == Omit })
		return base64URL(marshal(t, value))
	}
	return base64URL(marshal(t, value))
}

// Flatten puts three parts together as they are.
func Flatten(t testing.TB, protected, payload, signature string) []byte {
	t.Helper()
	return marshal(t, map[string]string{"protected": protected, "payload": payload, "signature": signature})
}

func withAlgorithm(header Header, algorithm string) Header {
	all := Header{"alg": algorithm}
	maps.Copy(all, header)
	return all
}

func marshal(t testing.TB, value any) []byte {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func signature(t testing.TB, key crypto.Signer, input []byte) []byte {
	t.Helper()
	var sig []byte
	var err error
	switch key := key.(type) {
	case *rsa.PrivateKey:
		sum := sha256.Sum256(input)
		sig, err = rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	case *ecdsa.PrivateKey:
		sig, err = signECDSA(key, input)
	case ed25519.PrivateKey:
		sig = ed25519.Sign(key, input)
	default:
		t.Fatalf("no signing with a %T", key)
	}
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// signECDSA gives the signature in the fixed form of RFC 7518 section 3.4.
func signECDSA(key *ecdsa.PrivateKey, input []byte) ([]byte, error) {
	bits := key.Params().BitSize
	digest := map[int]crypto.Hash{256: crypto.SHA256, 384: crypto.SHA384, 521: crypto.SHA512}[bits].New()
	digest.Write(input)
	r, s, err := ecdsa.Sign(rand.Reader, key, digest.Sum(nil))
	if err != nil {
		return nil, err
	}
	size := (bits + 7) / 8
	sig := make([]byte, 2*size)
	r.FillBytes(sig[:size])
	s.FillBytes(sig[size:])
	return sig, nil
}

func base64URL(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }
