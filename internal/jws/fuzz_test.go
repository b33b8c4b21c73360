package jws_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"testing"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/internal/jws"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
)

// seeds are messages of every form, for every parser: each must get through one that isn't meant for the others.
func seeds(f *testing.F) {
	f.Helper()
	key, other := jwstest.NewKey(f, "ES256"), jwstest.NewKey(f, "EdDSA")
	for _, seed := range [][]byte{
		jwstest.Sign(f, key, accountHeader(nil), map[string]any{"contact": []string{"mailto:a@example.test"}}),
		jwstest.Sign(f, key, accountHeader(nil), nil),
		jwstest.Sign(f, other, newHeader(jwstest.JWK(f, other), nil), map[string]any{}),
		jwstest.Sign(f, key, newHeader([]byte(rfc7638JWK), jwstest.Header{"alg": "RS256"}), map[string]any{}),
		jwstest.Sign(f, key, accountHeader(jwstest.Header{"crit": []string{"b64"}, "b64": false}), nil),
		jwstest.Sign(f, key, accountHeader(jwstest.Header{"alg": "none"}), nil),
		jwstest.Sign(f, key, accountHeader(jwstest.Header{"x5c": []string{"AAAA"}}), nil),
		jwstest.KeyChange(f, other, key, accountURL, keyChangeURL),
		jwstest.ExternalAccountBinding(f, macKey, "key-1", orderURL, key),
		[]byte(`{"payload":"","signatures":[{"protected":"e30","signature":""}]}`),
		[]byte(`{"protected":"e30","payload":"","signature":"AA","header":{}}`),
		[]byte(`{"a":[[[[[[[[[[[[[[[[[[[[`),
	} {
		f.Add(seed)
	}
}

// checkProblem requires that a problem has a known type and a short, printable detail.
func checkProblem(t *testing.T, problem *acme.Problem) {
	t.Helper()
	switch problem.Type {
	case acme.Malformed, acme.BadPublicKey, acme.BadNonce:
	case acme.BadSignatureAlgorithm:
		if len(problem.Algorithms) == 0 {
			t.Error("badSignatureAlgorithm without algorithms")
		}
	default:
		t.Errorf("unexpected problem %v", problem)
	}
	if problem.Detail == "" || acme.Printable(problem.Detail, acme.MaxDetail) != problem.Detail {
		t.Errorf("the detail is %q", problem.Detail)
	}
}

// checkStored requires that both halves agree: the controllers read a message in the same way as the ACME server.
func checkStored(t *testing.T, m *jws.Message) {
	t.Helper()
	stored, problem := jws.FromParts(m.Protected, m.Payload, m.Signature)
	if problem != nil {
		t.Fatalf("%+v was parsed, and its parts are not: %v", m, problem)
	}
	if !sameMessage(m, stored) {
		t.Errorf("%+v was stored as %+v", m, stored)
	}
}

func FuzzParse(f *testing.F) {
	seeds(f)
	stranger := jwstest.Key(f, jwstest.NewKey(f, "ES256"))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, problem := jws.Parse(body)
		if problem != nil {
			checkProblem(t, problem)
			return
		}
		checkStored(t, m)
		if (m.Header.Key == nil) == (m.Header.KeyID == "") || m.Header.URL == "" {
			t.Errorf("the header is %+v", m.Header)
		}
		if m.IsPOSTAsGET() != (len(m.Body) == 0) {
			t.Errorf("a payload of %d bytes; POST-as-GET: %v", len(m.Body), m.IsPOSTAsGET())
		}
		if problem := m.Verify(stranger); problem == nil {
			t.Error("a key verifies that never signed")
		} else {
			checkProblem(t, problem)
		}
	})
}

// FuzzFromParts writes into the protected header itself, which the encoding hides from FuzzParse.
func FuzzFromParts(f *testing.F) {
	jwk := string(jwstest.JWK(f, jwstest.NewKey(f, "ES256")))
	for _, header := range []string{
		`{"alg":"ES256","kid":"` + accountURL + `","url":"` + orderURL + `","nonce":"` + nonce + `"}`,
		`{"alg":"ES256","jwk":` + jwk + `,"url":"` + orderURL + `","nonce":"` + nonce + `"}`,
		`{"alg":"RS256","jwk":` + rfc7638JWK + `,"url":"` + orderURL + `","nonce":"` + nonce + `"}`,
		`{"alg":"ES256","kid":"` + accountURL + `","url":"` + orderURL + `","nonce":"","typ":"JOSE","cty":null,"x5c":[]}`,
		`{"alg":"HS256","kid":"key-1","url":"` + orderURL + `"}`,
		`{"alg":"none","crit":["b64"],"b64":false}`,
		`{"alg":"ES256","\u0061lg":"EdDSA"}`,
		"{}",
	} {
		f.Add(header, []byte("{}"), make([]byte, 64))
	}
	stranger := jwstest.Key(f, jwstest.NewKey(f, "ES256"))
	encode := base64.RawURLEncoding.EncodeToString
	f.Fuzz(func(t *testing.T, header string, payload, signature []byte) {
		m, problem := jws.FromParts(encode([]byte(header)), encode(payload), encode(signature))
		if problem != nil {
			if problem.Status != http.StatusRequestEntityTooLarge {
				checkProblem(t, problem)
			}
			return
		}
		checkHeader(t, header, m.Header)
		if !bytes.Equal(m.Body, payload) {
			t.Errorf("the body is %q, not %q", m.Body, payload)
		}
		if m.Verify(stranger) == nil {
			t.Error("a key verifies that never signed")
		}
	})
}

// checkHeader compares an accepted header with the result of another JSON parser.
func checkHeader(t *testing.T, text string, h jws.Header) {
	t.Helper()
	var seen map[string]any
	if err := json.Unmarshal([]byte(text), &seen); err != nil {
		t.Fatalf("%q was accepted: %v", text, err)
	}
	for _, name := range []string{"crit", "b64"} {
		if _, ok := seen[name]; ok {
			t.Errorf("%q was accepted", text)
		}
	}
	if !slices.Contains(jws.Algorithms(), h.Algorithm) || seen["alg"] != h.Algorithm || seen["url"] != h.URL || seen["nonce"] != h.Nonce {
		t.Errorf("%q was read as %+v", text, h)
	}
	kid, hasKeyID := seen["kid"]
	jwk, hasKey := seen["jwk"].(map[string]any)
	if hasKeyID == hasKey || hasKeyID && kid != h.KeyID || hasKey != (h.Key != nil) {
		t.Errorf("%q was read as %+v", text, h)
	}
	if _, secret := jwk["d"]; secret {
		t.Errorf("%q was accepted", text)
	}
}

func FuzzParseKeyChange(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		m, problem := jws.ParseKeyChange(body)
		if problem != nil {
			checkProblem(t, problem)
			return
		}
		if m.Header.Key == nil || m.Header.KeyID != "" || m.Header.Nonce != "" {
			t.Errorf("the header is %+v", m.Header)
		}
		if _, problem := jws.Parse(body); problem == nil {
			t.Error("an inner request is also an outer one")
		}
	})
}

func FuzzParseExternalAccountBinding(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		eab, problem := jws.ParseExternalAccountBinding(raw)
		if problem != nil {
			checkProblem(t, problem)
			return
		}
		if eab.Key == nil || eab.KeyID == "" || len(eab.KeyID) > jws.MaxBindingKeyID {
			t.Errorf("the binding is %+v", eab)
		}
		if eab.Verify([]byte("a key that nobody else was told about")) == nil || eab.Verify(nil) == nil {
			t.Error("a key verifies that never signed")
		}
		if _, problem := jws.Parse(raw); problem == nil {
			t.Error("a binding is also a request")
		}
	})
}

func FuzzParseKey(f *testing.F) {
	for _, jwk := range []string{
		rfc7638JWK, rfc8037JWK, rfc7515JWK, rsaJWK(modulus(2048), "AQAB"), rsaJWK(modulus(1024), "Aw"),
		`{"kty":"oct","k":"AAAA"}`, `{"kty":"EC","crv":"P-521","x":"","y":""}`, `{"kty":"RSA","n":"","e":""}`, "{}", "",
	} {
		f.Add([]byte(jwk))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		key, problem := jws.ParseKey(data)
		if problem != nil {
			checkProblem(t, problem)
			return
		}
		again, problem := jws.ParseKey(key.JSON())
		if problem != nil {
			t.Fatalf("%s: %v", key.JSON(), problem)
		}
		if !again.Equal(key) || again.Thumbprint() != key.Thumbprint() || again.Algorithm() != key.Algorithm() {
			t.Errorf("%s came back as %s", key.JSON(), again.JSON())
		}
		made, problem := jws.NewKey(key.Public())
		if problem != nil || !made.Equal(key) {
			t.Errorf("the public key of %s is not it: %v", key.JSON(), problem)
		}
	})
}

func BenchmarkParseAndVerify(b *testing.B) {
	for _, algorithm := range jws.Algorithms() {
		b.Run(algorithm, func(b *testing.B) {
			key := jwstest.NewKey(b, algorithm)
			public, body := jwstest.Key(b, key), jwstest.Sign(b, key, accountHeader(nil), map[string]any{})
			b.ReportAllocs()
			for b.Loop() {
				if problem := parse(b, body).Verify(public); problem != nil {
					b.Fatal(problem)
				}
			}
		})
	}
}
