package jws_test

import (
	"encoding/json"
	"testing"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/internal/jws"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
)

const keyChangeURL = "https://ca.test/acme/key-change"

func TestAKeyChangeHasTwoSignatures(t *testing.T) {
	oldKey, newKey := jwstest.NewKey(t, "RS256"), jwstest.NewKey(t, "ES384")
	inner := jwstest.KeyChange(t, newKey, oldKey, accountURL, keyChangeURL)
	outer := parse(t, jwstest.Sign(t, oldKey, accountHeader(jwstest.Header{"url": keyChangeURL}), inner))
	if problem := outer.Verify(jwstest.Key(t, oldKey)); problem != nil {
		t.Fatal(problem)
	}
	m, problem := jws.ParseKeyChange(outer.Body)
	if problem != nil {
		t.Fatal(problem)
	}
	if !m.Header.Key.Equal(jwstest.Key(t, newKey)) || m.Header.URL != outer.Header.URL || m.Header.Nonce != "" || m.Header.KeyID != "" {
		t.Errorf("the header is %+v", m.Header)
	}
	if problem := m.Verify(m.Header.Key); problem != nil {
		t.Fatal(problem)
	}
	var payload acme.KeyChangeRequest
	if err := json.Unmarshal(m.Body, &payload); err != nil {
		t.Fatal(err)
	}
	old, problem := jws.ParseKey(payload.OldKey)
	if problem != nil {
		t.Fatal(problem)
	}
	if !old.Equal(jwstest.Key(t, oldKey)) || payload.Account != accountURL {
		t.Errorf("the payload is %s", m.Body)
	}
}

// RFC 8555 section 7.3.5.
func TestRefusedKeyChanges(t *testing.T) {
	key := jwstest.NewKey(t, "ES256")
	jwk := jwstest.JWK(t, key)
	for name, test := range map[string]struct {
		header jwstest.Header
		want   acme.ProblemType
	}{
		"a nonce":       {jwstest.Header{"jwk": jwk, "url": keyChangeURL, "nonce": nonce}, acme.Malformed},
		"a null nonce":  {jwstest.Header{"jwk": jwk, "url": keyChangeURL, "nonce": nil}, acme.Malformed},
		"a kid":         {jwstest.Header{"kid": accountURL, "url": keyChangeURL}, acme.Malformed},
		"a kid and jwk": {jwstest.Header{"kid": accountURL, "jwk": jwk, "url": keyChangeURL}, acme.Malformed},
		"no key":        {jwstest.Header{"url": keyChangeURL}, acme.Malformed},
		"no url":        {jwstest.Header{"jwk": jwk}, acme.Malformed},
		"a MAC":         {jwstest.Header{"jwk": jwk, "url": keyChangeURL, "alg": "HS256"}, acme.BadSignatureAlgorithm},
		"none":          {jwstest.Header{"jwk": jwk, "url": keyChangeURL, "alg": "none"}, acme.BadSignatureAlgorithm},
		"another alg":   {jwstest.Header{"jwk": jwk, "url": keyChangeURL, "alg": "ES384"}, acme.BadSignatureAlgorithm},
		"a weak key":    {jwstest.Header{"jwk": json.RawMessage(rsaJWK(modulus(1024), "AQAB")), "url": keyChangeURL, "alg": "RS256"}, acme.BadPublicKey},
	} {
		t.Run(name, func(t *testing.T) {
			_, problem := jws.ParseKeyChange(jwstest.Sign(t, key, test.header, map[string]any{}))
			expect(t, problem, test.want)
		})
	}
	for _, body := range []string{"", "null", "{}", "[]"} {
		_, problem := jws.ParseKeyChange([]byte(body))
		expect(t, problem, acme.Malformed)
	}
}

// An inner request is no request: it has no nonce, so it can't be sent by itself.
func TestAnInnerRequestIsNotAnOuterOne(t *testing.T) {
	oldKey, newKey := jwstest.NewKey(t, "ES256"), jwstest.NewKey(t, "ES256")
	_, problem := jws.Parse(jwstest.KeyChange(t, newKey, oldKey, accountURL, keyChangeURL))
	expect(t, problem, acme.BadNonce)
}
