package jws_test

import (
	"crypto"
	"crypto/elliptic"
	"encoding/base64"
	"math/big"
	"slices"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/acmeca/acmeca/internal/jws"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
)

// verifiesInGoJOSE reports whether go-jose verifies a message.
func verifiesInGoJOSE(t testing.TB, m *jws.Message, key crypto.PublicKey) bool {
	t.Helper()
	signed, err := jose.ParseSignedCompact(m.Protected+"."+m.Payload+"."+m.Signature, []jose.SignatureAlgorithm{
		jose.RS256, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = signed.Verify(key)
	return err == nil
}

// variants are signatures like one that verifies. All but the negative of S are wrong.
func variants(signature []byte) map[string][]byte {
	half := len(signature) / 2
	changed := func(at int, bits byte) []byte {
		out := slices.Clone(signature)
		out[at] ^= bits
		return out
	}
	zero := make([]byte, half)
	all := map[string][]byte{
		"as it is": signature, "first bit": changed(0, 0x80), "last bit": changed(len(signature)-1, 1), "middle": changed(half, 1),
		"shorter": signature[1:], "cut": signature[:len(signature)-1], "longer": append(slices.Clone(signature), 0),
		"padded": append([]byte{0}, signature...), "twice": append(slices.Clone(signature), signature...), "half": signature[:half],
		"zero": make([]byte, len(signature)), "R zero": append(slices.Clone(zero), signature[half:]...),
		"S zero": append(slices.Clone(signature[:half]), zero...), "swapped": append(slices.Clone(signature[half:]), signature[:half]...),
	}
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		order := curve.Params().N
		if (order.BitLen()+7)/8 != half {
			continue
		}
		s := new(big.Int).SetBytes(signature[half:])
		all["negative S"] = append(slices.Clone(signature[:half]), new(big.Int).Sub(order, s).FillBytes(slices.Clone(zero))...)
		all["R the order"] = append(order.Bytes(), signature[half:]...)
	}
	return all
}

func TestVerifyAgreesWithGoJOSE(t *testing.T) {
	for _, algorithm := range jws.Algorithms() {
		key, other := jwstest.NewKey(t, algorithm), jwstest.NewKey(t, algorithm)
		m := parse(t, jwstest.Sign(t, key, accountHeader(nil), map[string]any{"a": "b"}))
		signature, err := base64.RawURLEncoding.DecodeString(m.Signature)
		if err != nil {
			t.Fatal(err)
		}
		verified := 0
		for name, candidate := range variants(signature) {
			message, problem := jws.FromParts(m.Protected, m.Payload, base64.RawURLEncoding.EncodeToString(candidate))
			if problem != nil {
				t.Fatalf("%s, %s: %v", algorithm, name, problem)
			}
			ours := message.Verify(jwstest.Key(t, key)) == nil
			if theirs := verifiesInGoJOSE(t, message, key.Public()); ours != theirs {
				t.Errorf("%s, %s: verifies %v, in go-jose %v", algorithm, name, ours, theirs)
			}
			if ours {
				verified++
			}
			if message.Verify(jwstest.Key(t, other)) == nil {
				t.Errorf("%s, %s: another key verifies", algorithm, name)
			}
		}
		if verified == 0 {
			t.Errorf("%s: nothing verifies", algorithm)
		}
	}
}

// FuzzVerify compares the result with that of go-jose.
func FuzzVerify(f *testing.F) {
	keys := map[string]crypto.Signer{}
	for _, algorithm := range jws.Algorithms() {
		keys[algorithm] = jwstest.NewKey(f, algorithm)
		m := parse(f, jwstest.Sign(f, keys[algorithm], accountHeader(nil), map[string]any{}))
		signature, err := base64.RawURLEncoding.DecodeString(m.Signature)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(m.Protected, m.Payload, signature)
	}
	f.Fuzz(func(t *testing.T, protected, payload string, signature []byte) {
		m, problem := jws.FromParts(protected, payload, base64.RawURLEncoding.EncodeToString(signature))
		if problem != nil {
			return
		}
		key := keys[m.Header.Algorithm]
		signed, err := jose.ParseSignedCompact(m.Protected+"."+m.Payload+"."+m.Signature, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(m.Header.Algorithm)})
		if err != nil {
			return // go-jose reads members of the header that this package ignores
		}
		_, err = signed.Verify(key.Public())
		if ours := m.Verify(jwstest.Key(t, key)) == nil; ours != (err == nil) {
			t.Errorf("verifies %v, in go-jose: %v", ours, err)
		}
	})
}
