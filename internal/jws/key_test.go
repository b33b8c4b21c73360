package jws_test

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/internal/jws"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
)

// The published examples.
const (
	rfc7638JWK = `{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`
	rfc8037JWK = `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	rfc7515JWK = `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`
)

func TestPublishedThumbprints(t *testing.T) {
	for name, test := range map[string]struct{ jwk, thumbprint string }{
		"RFC 7638 section 3.1":  {rfc7638JWK, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"},
		"RFC 8037 appendix A.3": {rfc8037JWK, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"},
	} {
		key, problem := jws.ParseKey([]byte(test.jwk))
		if problem != nil {
			t.Fatal(problem)
		}
		if got := key.Thumbprint(); got != test.thumbprint {
			t.Errorf("%s: the thumbprint is %s", name, got)
		}
	}
}

func TestAKeyComesBackFromItsJSON(t *testing.T) {
	for _, algorithm := range jws.Algorithms() {
		t.Run(algorithm, func(t *testing.T) {
			key := jwstest.NewKey(t, algorithm)
			made, problem := jws.NewKey(key.Public())
			if problem != nil {
				t.Fatal(problem)
			}
			read, problem := jws.ParseKey(made.JSON())
			if problem != nil {
				t.Fatal(problem)
			}
			if !read.Equal(made) || read.Thumbprint() != made.Thumbprint() || read.Algorithm() != algorithm {
				t.Errorf("%s is not %s", read.JSON(), made.JSON())
			}
			if !key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(read.Public()) {
				t.Error("the public key is another one")
			}
			other, problem := jws.NewKey(jwstest.NewKey(t, algorithm).Public())
			if problem != nil {
				t.Fatal(problem)
			}
			if other.Equal(read) || other.Thumbprint() == read.Thumbprint() {
				t.Error("two keys are the same")
			}
		})
	}
}

func TestThumbprintsAreGoJOSEs(t *testing.T) {
	for _, algorithm := range jws.Algorithms() {
		key := jwstest.NewKey(t, algorithm)
		theirs, err := (&jose.JSONWebKey{Key: key.Public()}).Thumbprint(crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		if ours := jwstest.Key(t, key).Thumbprint(); ours != base64.RawURLEncoding.EncodeToString(theirs) {
			t.Errorf("%s: the thumbprint is %s, not %x", algorithm, ours, theirs)
		}
	}
}

func TestAJWKIsReadHoweverItIsWritten(t *testing.T) {
	plain, problem := jws.ParseKey([]byte(rfc7515JWK))
	if problem != nil {
		t.Fatal(problem)
	}
	var members map[string]any
	if err := json.Unmarshal([]byte(rfc7515JWK), &members); err != nil {
		t.Fatal(err)
	}
	members["use"], members["kid"], members["alg"], members["x5c"], members["D"] = "enc", 5, "RS256", "none", "AA"
	decorated, err := json.MarshalIndent(members, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	key, problem := jws.ParseKey(decorated)
	if problem != nil {
		t.Fatal(problem)
	}
	if !key.Equal(plain) || string(key.JSON()) != string(plain.JSON()) {
		t.Errorf("%s is not %s", key.JSON(), plain.JSON())
	}
}

func TestNoKeyEqualsNone(t *testing.T) {
	key, problem := jws.ParseKey([]byte(rfc8037JWK))
	if problem != nil {
		t.Fatal(problem)
	}
	var none *jws.Key
	if key.Equal(nil) || none.Equal(key) || none.Equal(nil) {
		t.Error("a nil key equals something")
	}
}

func TestAKeysJSONIsACopy(t *testing.T) {
	key, problem := jws.ParseKey([]byte(rfc8037JWK))
	if problem != nil {
		t.Fatal(problem)
	}
	before := key.Thumbprint()
	key.JSON()[10] ^= 1
	if key.Thumbprint() != before {
		t.Error("writing into the JSON changes the key")
	}
}

// rsaJWK writes a key without asking whether it could be one.
func rsaJWK(n *big.Int, e string) string {
	return `{"kty":"RSA","n":"` + base64.RawURLEncoding.EncodeToString(n.Bytes()) + `","e":"` + e + `"}`
}

// modulus is an odd number of so many bits.
func modulus(bits uint) *big.Int {
	n := new(big.Int).Lsh(big.NewInt(3), bits-2)
	return n.Add(n, big.NewInt(0x10001))
}

func TestRSASizes(t *testing.T) {
	for bits, ok := range map[uint]bool{
		1024: false, 2040: false, 2047: false, 2048: true, 2049: false, 2055: false, 2056: true, 3072: true, 4088: true,
		4096: true, 4097: false, 4104: false, 8192: false, 16384: false,
	} {
		_, problem := jws.ParseKey([]byte(rsaJWK(modulus(bits), "AQAB")))
		switch {
		case ok && problem != nil:
			t.Errorf("%d bits: %v", bits, problem)
		case !ok:
			expect(t, problem, acme.BadPublicKey)
		}
	}
}

func TestRefusedKeys(t *testing.T) {
	n := modulus(2048)
	zeros := func(b64 string) string {
		raw, err := base64.RawURLEncoding.DecodeString(b64)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(append([]byte{0}, raw...))
	}
	const x, y = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
	ec := func(crv, x, y string) string {
		return `{"kty":"EC","crv":"` + crv + `","x":"` + x + `","y":"` + y + `"}`
	}
	okp := func(crv, x string) string { return `{"kty":"OKP","crv":"` + crv + `","x":"` + x + `"}` }
	bytes32 := func(first, rest, last byte) string {
		b := make([]byte, 32)
		for i := range b {
			b[i] = rest
		}
		b[0], b[31] = first, last
		return base64.RawURLEncoding.EncodeToString(b)
	}
	with := func(jwk, member string) string { return "{" + member + "," + jwk[1:] }
	for name, test := range map[string]struct {
		jwk  string
		want acme.ProblemType
	}{
		"nothing":                  {"", acme.Malformed},
		"null":                     {"null", acme.Malformed},
		"a string":                 {`"key"`, acme.Malformed},
		"empty":                    {"{}", acme.Malformed},
		"too large":                {with(rfc8037JWK, `"a":"`+strings.Repeat("a", 8<<10)+`"`), acme.Malformed},
		"a doubled member":         {with(rfc8037JWK, `"x":"AAAA"`), acme.Malformed},
		"no kty":                   {`{"crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`, acme.Malformed},
		"kty a number":             {`{"kty":1}`, acme.Malformed},
		"kty in lower case":        {strings.Replace(rfc7638JWK, "RSA", "rsa", 1), acme.BadPublicKey},
		"an unknown kty":           {`{"kty":"\u001bX","x":"AA"}`, acme.BadPublicKey},
		"symmetric":                {`{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}`, acme.BadPublicKey},
		"ML-DSA":                   {`{"kty":"AKP","alg":"ML-DSA-44","pub":"AAAA"}`, acme.BadPublicKey},
		"a private Ed25519 key":    {with(rfc8037JWK, `"d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"`), acme.BadPublicKey},
		"a private EC key":         {with(rfc7515JWK, `"d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"`), acme.BadPublicKey},
		"a private RSA exponent":   {with(rfc7638JWK, `"d":"AQAB"`), acme.BadPublicKey},
		"a private RSA prime":      {with(rfc7638JWK, `"p":"AQAB"`), acme.BadPublicKey},
		"other primes":             {with(rfc7638JWK, `"oth":[]`), acme.BadPublicKey},
		"a secret beside":          {with(rfc7638JWK, `"k":null`), acme.BadPublicKey},
		"RSA without n":            {`{"kty":"RSA","e":"AQAB"}`, acme.Malformed},
		"RSA without e":            {`{"kty":"RSA","n":"AQAB"}`, acme.Malformed},
		"n a number":               {`{"kty":"RSA","n":5,"e":"AQAB"}`, acme.Malformed},
		"n empty":                  {`{"kty":"RSA","n":"","e":"AQAB"}`, acme.BadPublicKey},
		"n padded":                 {strings.Replace(rfc7638JWK, "Kgw\"", "Kgw==\"", 1), acme.Malformed},
		"n with line break":        {strings.Replace(rfc7638JWK, `"n":"`, `"n":"\n`, 1), acme.Malformed},
		"n with a leading zero":    {rsaJWK(n, "AQAB")[:len(`{"kty":"RSA","n":"`)] + zeros(base64.RawURLEncoding.EncodeToString(n.Bytes())) + `","e":"AQAB"}`, acme.BadPublicKey},
		"n even":                   {rsaJWK(new(big.Int).Add(n, big.NewInt(1)), "AQAB"), acme.BadPublicKey},
		"e empty":                  {rsaJWK(n, ""), acme.BadPublicKey},
		"e zero":                   {rsaJWK(n, "AA"), acme.BadPublicKey},
		"e one":                    {rsaJWK(n, "AQ"), acme.BadPublicKey},
		"e two":                    {rsaJWK(n, "Ag"), acme.BadPublicKey},
		"e even":                   {rsaJWK(n, "AQAA"), acme.BadPublicKey},
		"e with a leading zero":    {rsaJWK(n, "AAEAAQ"), acme.BadPublicKey},
		"e of 32 bits":             {rsaJWK(n, "_____w"), acme.BadPublicKey},
		"e of 65 bits":             {rsaJWK(n, "AQAAAAAAAAAB"), acme.BadPublicKey},
		"e enormous":               {rsaJWK(n, strings.Repeat("A", 4000)), acme.BadPublicKey},
		"EC without y":             {`{"kty":"EC","crv":"P-256","x":"` + x + `"}`, acme.Malformed},
		"EC without crv":           {`{"kty":"EC","x":"` + x + `","y":"` + y + `"}`, acme.Malformed},
		"P-224":                    {ec("P-224", x, y), acme.BadPublicKey},
		"secp256k1":                {ec("secp256k1", x, y), acme.BadPublicKey},
		"crv with markup":          {ec("<P-256>", x, y), acme.BadPublicKey},
		"a point off the curve":    {ec("P-256", y, x), acme.BadPublicKey},
		"the point at infinity":    {ec("P-256", bytes32(0, 0, 0), bytes32(0, 0, 0)), acme.BadPublicKey},
		"a coordinate too large":   {ec("P-256", bytes32(255, 255, 255), y), acme.BadPublicKey},
		"a point of another curve": {ec("P-384", x, y), acme.BadPublicKey},
		"a short coordinate":       {ec("P-256", "AA", y), acme.BadPublicKey},
		"a long coordinate":        {ec("P-256", zeros(x), zeros(y)), acme.BadPublicKey},
		"Ed25519 without x":        {`{"kty":"OKP","crv":"Ed25519"}`, acme.Malformed},
		"Ed25519 too short":        {okp("Ed25519", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcH"), acme.BadPublicKey},
		"Ed25519 of low order":     {okp("Ed25519", bytes32(1, 0, 0)), acme.BadPublicKey},
		"Ed25519 zero":             {okp("Ed25519", bytes32(0, 0, 0)), acme.BadPublicKey},
		"Ed448":                    {okp("Ed448", bytes32(1, 2, 3)), acme.BadPublicKey},
		"X25519":                   {okp("X25519", bytes32(1, 2, 3)), acme.BadPublicKey},
	} {
		t.Run(name, func(t *testing.T) {
			_, problem := jws.ParseKey([]byte(test.jwk))
			expect(t, problem, test.want)
			if problem != nil && strings.ContainsAny(problem.Detail, "\x1b\n") {
				t.Errorf("the detail is not printable: %q", problem.Detail)
			}
		})
	}
	// The keys from which the cases were made are accepted.
	for _, jwk := range []string{rfc7638JWK, rfc8037JWK, rfc7515JWK, ec("P-256", x, y), rsaJWK(n, "AQAB"), rsaJWK(n, "Aw"), rsaJWK(n, "f____w")} {
		if _, problem := jws.ParseKey([]byte(jwk)); problem != nil {
			t.Errorf("%s: %v", jwk, problem)
		}
	}
}

func TestPublicKeysThatAreNotAccepted(t *testing.T) {
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, public := range map[string]crypto.PublicKey{
		"nil":               nil,
		"a secret":          []byte("0123456789abcdef0123456789abcdef"),
		"P-224":             p224.Public(),
		"X25519":            x25519.Public(),
		"a private key":     jwstest.NewKey(t, "ES256"),
		"RSA of 1024 bits":  &rsa.PublicKey{N: modulus(1024), E: 65537},
		"a short Ed25519":   ed25519.PublicKey("short"),
		"an empty EC point": &ecdsa.PublicKey{Curve: elliptic.P256()},
	} {
		t.Run(name, func(t *testing.T) {
			_, problem := jws.NewKey(public)
			expect(t, problem, acme.BadPublicKey)
		})
	}
}

func TestARefusedKeyInAHeader(t *testing.T) {
	key := jwstest.NewKey(t, "ES256")
	weak := json.RawMessage(rsaJWK(modulus(1024), "AQAB"))
	private := json.RawMessage(`{"d":"AAAA",` + string(jwstest.JWK(t, key))[1:])
	for name, header := range map[string]jwstest.Header{
		"weak":      newHeader(weak, jwstest.Header{"alg": "RS256"}),
		"private":   newHeader(private, nil),
		"symmetric": newHeader(json.RawMessage(`{"kty":"oct","k":"AAAA"}`), nil),
	} {
		t.Run(name, func(t *testing.T) {
			_, problem := jws.Parse(jwstest.Sign(t, key, header, nil))
			expect(t, problem, acme.BadPublicKey)
		})
	}
}
