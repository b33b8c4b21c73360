package jws_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/internal/jws"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
)

var macKey = []byte("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")

func bindingHeader(changes jwstest.Header) jwstest.Header {
	h := jwstest.Header{"kid": "key-1", "url": orderURL}
	maps.Copy(h, changes)
	return h
}

func TestABindingVerifies(t *testing.T) {
	account := jwstest.NewKey(t, "ES256")
	for _, algorithm := range jws.MACAlgorithms() {
		t.Run(algorithm, func(t *testing.T) {
			raw := jwstest.MAC(t, macKey, bindingHeader(jwstest.Header{"alg": algorithm}), jwstest.JWK(t, account))
			eab, problem := jws.ParseExternalAccountBinding(raw)
			if problem != nil {
				t.Fatal(problem)
			}
			if eab.KeyID != "key-1" || eab.URL != orderURL || eab.Algorithm != algorithm || !eab.Key.Equal(jwstest.Key(t, account)) {
				t.Errorf("the binding is %+v", eab)
			}
			if problem := eab.Verify(macKey); problem != nil {
				t.Fatal(problem)
			}
			changed := slices.Clone(macKey)
			changed[0] ^= 1
			for name, wrong := range map[string][]byte{
				"no key": nil, "an empty key": {}, "a short key": macKey[:16], "another key": changed, "a longer key": append(slices.Clone(macKey), 1),
			} {
				if problem := eab.Verify(wrong); problem == nil || problem.Type != acme.Unauthorized {
					t.Errorf("%s: the problem is %v", name, problem)
				}
			}
		})
	}
}

// RFC 7518 section 3.2: a key at least as long as the digest. A MAC made with a shorter one is right, and still refused.
func TestShortMACKeysVerifyNothing(t *testing.T) {
	account := jwstest.NewKey(t, "ES256")
	for algorithm, size := range map[string]int{"HS256": 32, "HS384": 48, "HS512": 64} {
		for length, ok := range map[int]bool{0: false, size - 1: false, size: true} {
			raw := jwstest.MAC(t, macKey[:length], bindingHeader(jwstest.Header{"alg": algorithm}), jwstest.JWK(t, account))
			eab, problem := jws.ParseExternalAccountBinding(raw)
			if problem != nil {
				t.Fatal(problem)
			}
			if problem := eab.Verify(macKey[:length]); (problem == nil) != ok {
				t.Errorf("%s with %d bytes: %v", algorithm, length, problem)
			}
		}
	}
}

func TestRefusedBindings(t *testing.T) {
	account := jwstest.NewKey(t, "ES256")
	jwk := jwstest.JWK(t, account)
	for name, test := range map[string]struct {
		header  jwstest.Header
		payload any
		want    acme.ProblemType
	}{
		"a nonce":               {jwstest.Header{"nonce": nonce}, jwk, acme.Malformed},
		"an empty nonce":        {jwstest.Header{"nonce": ""}, jwk, acme.Malformed},
		"a jwk too":             {jwstest.Header{"jwk": jwk}, jwk, acme.Malformed},
		"a jwk alone":           {jwstest.Header{"jwk": jwk, "kid": jwstest.Omit}, jwk, acme.Malformed},
		"no kid":                {jwstest.Header{"kid": jwstest.Omit}, jwk, acme.Malformed},
		"an empty kid":          {jwstest.Header{"kid": ""}, jwk, acme.Malformed},
		"a long kid":            {jwstest.Header{"kid": strings.Repeat("k", jws.MaxBindingKeyID+1)}, jwk, acme.Malformed},
		"a kid beyond ASCII":    {jwstest.Header{"kid": "schlüssel"}, jwk, acme.Malformed},
		"a kid with line break": {jwstest.Header{"kid": "key\n1"}, jwk, acme.Malformed},
		"a kid that is null":    {jwstest.Header{"kid": nil}, jwk, acme.Malformed},
		"no url":                {jwstest.Header{"url": jwstest.Omit}, jwk, acme.Malformed},
		"crit":                  {jwstest.Header{"crit": []string{"b64"}, "b64": false}, jwk, acme.Malformed},
		"no alg":                {jwstest.Header{"alg": jwstest.Omit}, jwk, acme.Malformed},
		"no payload":            {nil, nil, acme.Malformed},
		"another payload":       {nil, map[string]any{"a": 1}, acme.Malformed},
		"a payload of text":     {nil, []byte("hello"), acme.Malformed},
		"a symmetric payload":   {nil, json.RawMessage(`{"kty":"oct","k":"AAAA"}`), acme.BadPublicKey},
		"a private payload":     {nil, json.RawMessage(`{"d":"AA",` + string(jwk)[1:]), acme.BadPublicKey},
	} {
		t.Run(name, func(t *testing.T) {
			_, problem := jws.ParseExternalAccountBinding(jwstest.MAC(t, macKey, bindingHeader(test.header), test.payload))
			expect(t, problem, test.want)
		})
	}
	for _, raw := range []string{"", "null", "{}", `"x"`, `{"protected":"e30","payload":"","signature":"AA","header":{}}`} {
		_, problem := jws.ParseExternalAccountBinding([]byte(raw))
		expect(t, problem, acme.Malformed)
	}
}

func TestABindingIsAMACAndARequestIsNot(t *testing.T) {
	account := jwstest.NewKey(t, "ES256")
	for _, algorithm := range append(jws.Algorithms(), "none", "HS1", "") {
		raw := jwstest.Sign(t, account, bindingHeader(jwstest.Header{"alg": algorithm}), jwstest.JWK(t, account))
		_, problem := jws.ParseExternalAccountBinding(raw)
		expect(t, problem, acme.BadSignatureAlgorithm)
		if !slices.Equal(problem.Algorithms, jws.MACAlgorithms()) {
			t.Errorf("the problem lists %v", problem.Algorithms)
		}
	}
	for _, algorithm := range jws.MACAlgorithms() {
		if slices.Contains(jws.Algorithms(), algorithm) {
			t.Errorf("%s is in both lists", algorithm)
		}
	}
}

func TestABindingCannotBeChanged(t *testing.T) {
	account, other := jwstest.NewKey(t, "ES256"), jwstest.NewKey(t, "ES256")
	var parts map[string]string
	if err := json.Unmarshal(jwstest.ExternalAccountBinding(t, macKey, "key-1", orderURL, account), &parts); err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string][]byte{
		"another account": jwstest.Flatten(t, parts["protected"], jwstest.Encode(t, jwstest.JWK(t, other)), parts["signature"]),
		"another id":      jwstest.Flatten(t, jwstest.Encode(t, bindingHeader(jwstest.Header{"kid": "key-2", "alg": "HS256"})), parts["payload"], parts["signature"]),
		"half a MAC":      jwstest.Flatten(t, parts["protected"], parts["payload"], parts["signature"][:20]),
	} {
		eab, problem := jws.ParseExternalAccountBinding(raw)
		if problem != nil {
			t.Fatal(problem)
		}
		if problem := eab.Verify(macKey); problem == nil || problem.Type != acme.Unauthorized {
			t.Errorf("%s: the problem is %v", name, problem)
		}
	}
}
