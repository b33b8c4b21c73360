package jws_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/internal/jws"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
)

const (
	accountURL = "https://ca.test/acme/acct/1"
	orderURL   = "https://ca.test/acme/new-order"
	nonce      = "bm9uY2U"
)

// accountHeader is the header of an account's request; newHeader that of one with a key, for its changes.
func accountHeader(changes jwstest.Header) jwstest.Header {
	h := jwstest.Header{"kid": accountURL, "url": orderURL, "nonce": nonce}
	maps.Copy(h, changes)
	return h
}

func newHeader(jwk json.RawMessage, changes jwstest.Header) jwstest.Header {
	h := jwstest.Header{"jwk": jwk, "url": orderURL, "nonce": nonce}
	maps.Copy(h, changes)
	return h
}

func parse(t testing.TB, body []byte) *jws.Message {
	t.Helper()
	m, problem := jws.Parse(body)
	if problem != nil {
		t.Fatal(problem)
	}
	return m
}

// expect holds a problem to its type, and to the status that RFC 8555 section 6.2 gives all of this package's but one.
func expect(t testing.TB, problem *acme.Problem, want acme.ProblemType) {
	t.Helper()
	switch {
	case problem == nil:
		t.Errorf("accepted; %s was expected", want)
	case problem.Type != want:
		t.Errorf("the problem is %v; %s was expected", problem, want)
	case problem.Status != http.StatusBadRequest:
		t.Errorf("the status is %d", problem.Status)
	case problem.Detail == "":
		t.Error("the problem has no detail")
	}
}

func TestAnAccountsRequestVerifies(t *testing.T) {
	for _, algorithm := range jws.Algorithms() {
		t.Run(algorithm, func(t *testing.T) {
			key := jwstest.NewKey(t, algorithm)
			m := parse(t, jwstest.Sign(t, key, accountHeader(nil), map[string]string{"a": "b"}))
			if problem := m.Verify(jwstest.Key(t, key)); problem != nil {
				t.Fatal(problem)
			}
			want := jws.Header{Algorithm: algorithm, Nonce: nonce, URL: orderURL, KeyID: accountURL}
			if m.Header != want {
				t.Errorf("the header is %+v, not %+v", m.Header, want)
			}
			if string(m.Body) != `{"a":"b"}` || m.IsPOSTAsGET() {
				t.Errorf("the body is %q", m.Body)
			}
			expect(t, m.Verify(jwstest.Key(t, jwstest.NewKey(t, algorithm))), acme.Malformed)
		})
	}
}

func TestARequestWithItsKeyVerifies(t *testing.T) {
	for _, algorithm := range jws.Algorithms() {
		t.Run(algorithm, func(t *testing.T) {
			key := jwstest.NewKey(t, algorithm)
			m := parse(t, jwstest.Sign(t, key, newHeader(jwstest.JWK(t, key), nil), map[string]any{}))
			if m.Header.KeyID != "" || !m.Header.Key.Equal(jwstest.Key(t, key)) {
				t.Errorf("the header is %+v", m.Header)
			}
			if problem := m.Verify(m.Header.Key); problem != nil {
				t.Fatal(problem)
			}
		})
	}
}

func TestAStoredRequestIsTheSame(t *testing.T) {
	key := jwstest.NewKey(t, "ES256")
	for name, body := range map[string][]byte{
		"kid":         jwstest.Sign(t, key, accountHeader(nil), map[string]any{}),
		"jwk":         jwstest.Sign(t, key, newHeader(jwstest.JWK(t, key), nil), map[string]any{"contact": []string{}}),
		"POST-as-GET": jwstest.Sign(t, key, accountHeader(nil), nil),
	} {
		t.Run(name, func(t *testing.T) {
			m := parse(t, body)
			stored, problem := jws.FromParts(m.Protected, m.Payload, m.Signature)
			if problem != nil {
				t.Fatal(problem)
			}
			if !sameMessage(m, stored) {
				t.Errorf("%+v is not %+v", stored, m)
			}
			if problem := stored.Verify(jwstest.Key(t, key)); problem != nil {
				t.Fatal(problem)
			}
		})
	}
}

func sameMessage(a, b *jws.Message) bool {
	ha, hb := a.Header, b.Header
	sameKey := ha.Key == nil && hb.Key == nil || ha.Key.Equal(hb.Key)
	ha.Key, hb.Key = nil, nil
	return sameKey && ha == hb && a.Protected == b.Protected && a.Payload == b.Payload && a.Signature == b.Signature &&
		bytes.Equal(a.Body, b.Body)
}

func TestPOSTAsGETIsTheEmptyPayload(t *testing.T) {
	key := jwstest.NewKey(t, "ES256")
	m := parse(t, jwstest.Sign(t, key, accountHeader(nil), nil))
	if !m.IsPOSTAsGET() || len(m.Body) != 0 {
		t.Errorf("the payload is %q", m.Body)
	}
	if problem := m.Verify(jwstest.Key(t, key)); problem != nil {
		t.Fatal(problem)
	}
	if parse(t, jwstest.Sign(t, key, accountHeader(nil), map[string]any{})).IsPOSTAsGET() {
		t.Error("{} is a POST-as-GET")
	}
}

func TestTheWayJSONIsWrittenDoesNotMatter(t *testing.T) {
	key := jwstest.NewKey(t, "ES256")
	oneLine := jwstest.Sign(t, key, accountHeader(nil), map[string]any{})
	var indented bytes.Buffer
	if err := json.Indent(&indented, oneLine, "\t", "   "); err != nil {
		t.Fatal(err)
	}
	members := func(text string) []byte { return slices.Concat([]byte("{"), []byte(text), oneLine[1:]) }
	for name, body := range map[string][]byte{
		"one line":         oneLine,
		"indented":         indented.Bytes(),
		"CRLF":             bytes.ReplaceAll(indented.Bytes(), []byte("\n"), []byte("\r\n")),
		"spaces around":    slices.Concat([]byte(" \n"), oneLine, []byte("\n\t ")),
		"unknown members":  members(`"":0,"a":{"signatures":[{"header":1}]},"Header":{},"SIGNATURES":[1],`),
		"escaped names":    bytes.Replace(oneLine, []byte(`"payload"`), []byte(`"pa\u0079load"`), 1),
		"brackets in text": members(`"a":"[[[[[[[[[[[[[[[[[[[[[[\"{{{{{{{{{{{{{{{{{{{{\\",`),
	} {
		t.Run(name, func(t *testing.T) {
			if problem := parse(t, body).Verify(jwstest.Key(t, key)); problem != nil {
				t.Fatal(problem)
			}
		})
	}
}

func TestUnknownHeaderMembersAreIgnored(t *testing.T) {
	key := jwstest.NewKey(t, "ES256")
	header := newHeader(nil, jwstest.Header{
		"typ": "JOSE+JSON", "KID": accountURL, "Crit": []string{"exp"}, "extra": map[string]any{"deep": []any{1, nil, true}},
		"jwk": json.RawMessage(strings.Replace(string(jwstest.JWK(t, key)), "{", `{"kid":"mine","use":"sig","ext":true,"key_ops":["verify"],`, 1)),
	})
	m := parse(t, jwstest.Sign(t, key, header, nil))
	if problem := m.Verify(m.Header.Key); problem != nil {
		t.Fatal(problem)
	}
	if !m.Header.Key.Equal(jwstest.Key(t, key)) {
		t.Error("the description of the key changes it")
	}
}

func TestRefusedBodies(t *testing.T) {
	key := jwstest.NewKey(t, "ES256")
	good := string(jwstest.Sign(t, key, accountHeader(nil), map[string]any{"x": 1}))
	m := parse(t, []byte(good))
	with := func(member string) string { return "{" + member + "," + good[1:] }
	flat := func(protected, payload, signature string) string {
		return string(jwstest.Flatten(t, protected, payload, signature))
	}
	without := func(name string) string {
		var members map[string]string
		if err := json.Unmarshal([]byte(good), &members); err != nil {
			t.Fatal(err)
		}
		delete(members, name)
		data, err := json.Marshal(members)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	for name, body := range map[string]string{
		"nothing":                   "",
		"no JSON":                   "hello",
		"null":                      "null",
		"a string":                  `"a"`,
		"an array":                  "[" + good + "]",
		"an empty object":           "{}",
		"cut off":                   good[:len(good)-1],
		"more behind":               good + "{}",
		"a NUL behind":              good + "\x00",
		"a byte order mark":         "\ufeff" + good,
		"a comment":                 "/**/" + good,
		"not UTF-8":                 with("\"a\":\"\xff\""),
		"the compact form":          m.Protected + "." + m.Payload + "." + m.Signature,
		"the general form":          fmt.Sprintf(`{"payload":%q,"signatures":[{"protected":%q,"signature":%q}]}`, m.Payload, m.Protected, m.Signature),
		"a second signature":        with(`"signatures":[]`),
		"signatures null":           with(`"signatures":null`),
		"an unprotected header":     with(`"header":{"kid":"https://ca.test/acme/acct/2"}`),
		"an empty header":           with(`"header":{}`),
		"an escaped header":         with(`"he\u0061der":{}`),
		"protected twice":           with(`"protected":"e30"`),
		"payload twice":             with(`"payload":"e30"`),
		"payload twice, escaped":    with(`"p\u0061yload":"e30"`),
		"signature twice":           with(`"signature":"e30"`),
		"an unknown member twice":   with(`"a":1,"a":1`),
		"no protected":              without("protected"),
		"no payload":                without("payload"),
		"no signature":              without("signature"),
		"protected an object":       `{"protected":{"alg":"ES256"},"payload":"","signature":"AA"}`,
		"payload null":              `{"protected":"e30","payload":null,"signature":"AA"}`,
		"payload an object":         `{"protected":"e30","payload":{},"signature":"AA"}`,
		"signature a number":        `{"protected":"e30","payload":"","signature":1}`,
		"empty protected":           flat("", m.Payload, m.Signature),
		"empty signature":           flat(m.Protected, m.Payload, ""),
		"padded payload":            flat(m.Protected, m.Payload+"=", m.Signature),
		"padded protected":          flat(m.Protected+"==", m.Payload, m.Signature),
		"padded signature":          flat(m.Protected, m.Payload, m.Signature+"=="),
		"line break in payload":     flat(m.Protected, m.Payload+"\n", m.Signature),
		"line break in protected":   flat(m.Protected[:4]+"\r\n"+m.Protected[4:], m.Payload, m.Signature),
		"line break in signature":   flat(m.Protected, m.Payload, "\n"+m.Signature),
		"space in payload":          flat(m.Protected, m.Payload+" ", m.Signature),
		"a dot in payload":          flat(m.Protected, m.Payload+".", m.Signature),
		"base64, not base64url":     flat(m.Protected, "+/+/", m.Signature),
		"stray bits":                flat(m.Protected, "eyJ4IjoxfR", m.Signature),
		"a length that can't be":    flat(m.Protected, "AAAAA", m.Signature),
		"nesting without end":       with(`"a":` + strings.Repeat("[", 10000)),
		"nesting with an end":       with(`"a":` + strings.Repeat("[", 16) + strings.Repeat("]", 16)),
		"objects without end":       strings.Repeat(`{"a":`, 10000),
		"protected is no JSON":      flat(jwstest.Encode(t, []byte("hello")), m.Payload, m.Signature),
		"protected is no object":    flat(jwstest.Encode(t, []byte("[]")), m.Payload, m.Signature),
		"protected is not UTF-8":    flat(jwstest.Encode(t, []byte("{\"a\":\"\xff\"}")), m.Payload, m.Signature),
		"protected has more behind": flat(jwstest.Encode(t, []byte(`{"alg":"ES256"} {}`)), m.Payload, m.Signature),
		"protected is empty object": flat("e30", m.Payload, m.Signature),
	} {
		t.Run(name, func(t *testing.T) {
			_, problem := jws.Parse([]byte(body))
			expect(t, problem, acme.Malformed)
		})
	}
}

// An RSA-8192 key signs with 1366 characters. The key is the fault to report (RFC 8555 section 6.2), not the signature's size.
func TestAKeyThatIsTooLargeIsNamedBeforeItsSignature(t *testing.T) {
	for _, bits := range []uint{8192, 16384} {
		header := fmt.Sprintf(`{"alg":"RS256","jwk":%s,"nonce":"bm9uY2U","url":"https://ca.test/acme/new-account"}`, rsaJWK(modulus(bits), "AQAB"))
		protected := base64.RawURLEncoding.EncodeToString([]byte(header))
		signature := base64.RawURLEncoding.EncodeToString(make([]byte, bits/8))
		_, problem := jws.FromParts(protected, "e30", signature)
		expect(t, problem, acme.BadPublicKey)
		if want := fmt.Sprintf("%d bits", bits); !strings.Contains(problem.Detail, want) || problem.Status != http.StatusBadRequest {
			t.Errorf("%d bits: %+v", bits, problem)
		}
	}
}

func TestSizeBounds(t *testing.T) {
	key := jwstest.NewKey(t, "ES256")
	good := jwstest.Sign(t, key, accountHeader(nil), nil)
	m := parse(t, good)
	padded := func(size int) []byte {
		return slices.Concat(good, bytes.Repeat([]byte(" "), size-len(good)))
	}
	parse(t, padded(jws.MaxMessage))
	long := strings.Repeat("A", jws.MaxMessage)
	for name, problemOf := range map[string]func() *acme.Problem{
		"whole": func() *acme.Problem { _, p := jws.Parse(padded(jws.MaxMessage + 1)); return p },
		"protected": func() *acme.Problem {
			_, p := jws.FromParts(long[:jws.MaxProtected+4], m.Payload, m.Signature)
			return p
		},
		"payload": func() *acme.Problem { _, p := jws.FromParts(m.Protected, long, m.Signature); return p },
		"signature": func() *acme.Problem {
			_, p := jws.FromParts(m.Protected, m.Payload, long[:jws.MaxSignature+4])
			return p
		},
		"key change": func() *acme.Problem {
			_, p := jws.ParseKeyChange(padded(jws.MaxMessage + 1))
			return p
		},
		"binding": func() *acme.Problem {
			_, p := jws.ParseExternalAccountBinding(padded(jws.MaxMessage + 1))
			return p
		},
	} {
		t.Run(name, func(t *testing.T) {
			problem := problemOf()
			if problem == nil || problem.Type != acme.Malformed || problem.Status != http.StatusRequestEntityTooLarge {
				t.Errorf("the problem is %+v", problem)
			}
		})
	}
}

func TestRefusedHeaders(t *testing.T) {
	key := jwstest.NewKey(t, "ES256")
	jwk := jwstest.JWK(t, key)
	account, keyed := accountHeader, func(changes jwstest.Header) jwstest.Header { return newHeader(jwk, changes) }
	for name, test := range map[string]struct {
		header jwstest.Header
		want   acme.ProblemType
	}{
		"jwk and kid":           {account(jwstest.Header{"jwk": jwk}), acme.Malformed},
		"jwk null and kid":      {account(jwstest.Header{"jwk": nil}), acme.Malformed},
		"jwk and kid null":      {keyed(jwstest.Header{"kid": nil}), acme.Malformed},
		"jwk and empty kid":     {keyed(jwstest.Header{"kid": ""}), acme.Malformed},
		"neither jwk nor kid":   {account(jwstest.Header{"kid": jwstest.Omit}), acme.Malformed},
		"jwk null":              {keyed(jwstest.Header{"jwk": nil}), acme.Malformed},
		"jwk a string":          {keyed(jwstest.Header{"jwk": string(jwk)}), acme.Malformed},
		"jwk a list":            {keyed(jwstest.Header{"jwk": []any{jwk}}), acme.Malformed},
		"jwk empty":             {keyed(jwstest.Header{"jwk": map[string]any{}}), acme.Malformed},
		"kid a number":          {account(jwstest.Header{"kid": 1}), acme.Malformed},
		"kid empty":             {account(jwstest.Header{"kid": ""}), acme.Malformed},
		"kid a path":            {account(jwstest.Header{"kid": "/acme/acct/1"}), acme.Malformed},
		"kid without scheme":    {account(jwstest.Header{"kid": "ca.test/acme/acct/1"}), acme.Malformed},
		"kid without host":      {account(jwstest.Header{"kid": "https:///acme/acct/1"}), acme.Malformed},
		"kid of another scheme": {account(jwstest.Header{"kid": "file://ca.test/acme/acct/1"}), acme.Malformed},
		"kid not a URL":         {account(jwstest.Header{"kid": "https://ca.test/%zz"}), acme.Malformed},
		"no url":                {account(jwstest.Header{"url": jwstest.Omit}), acme.Malformed},
		"url null":              {account(jwstest.Header{"url": nil}), acme.Malformed},
		"url a list":            {account(jwstest.Header{"url": []string{orderURL}}), acme.Malformed},
		"url empty":             {account(jwstest.Header{"url": ""}), acme.Malformed},
		"url a path":            {account(jwstest.Header{"url": "/acme/new-order"}), acme.Malformed},
		"no nonce":              {account(jwstest.Header{"nonce": jwstest.Omit}), acme.BadNonce},
		"no nonce, with jwk":    {keyed(jwstest.Header{"nonce": jwstest.Omit}), acme.BadNonce},
		"no nonce and no url":   {account(jwstest.Header{"nonce": jwstest.Omit, "url": jwstest.Omit}), acme.Malformed},
		"nonce null":            {account(jwstest.Header{"nonce": nil}), acme.Malformed},
		"nonce a number":        {account(jwstest.Header{"nonce": 12345}), acme.Malformed},
		"nonce padded":          {account(jwstest.Header{"nonce": "bm9uY2U="}), acme.Malformed},
		"nonce in base64":       {account(jwstest.Header{"nonce": "+/+/"}), acme.Malformed},
		"nonce with space":      {account(jwstest.Header{"nonce": "bm9u Y2U"}), acme.Malformed},
		"nonce with line break": {account(jwstest.Header{"nonce": "bm9uY2U\n"}), acme.Malformed},
		"crit":                  {account(jwstest.Header{"crit": []string{"exp"}, "exp": 1}), acme.Malformed},
		"crit empty":            {account(jwstest.Header{"crit": []string{}}), acme.Malformed},
		"crit null":             {account(jwstest.Header{"crit": nil}), acme.Malformed},
		"crit with b64":         {account(jwstest.Header{"crit": []string{"b64"}, "b64": false}), acme.Malformed},
		"b64 false":             {account(jwstest.Header{"b64": false}), acme.Malformed},
		"b64 true":              {account(jwstest.Header{"b64": true}), acme.Malformed},
		"no alg":                {account(jwstest.Header{"alg": jwstest.Omit}), acme.Malformed},
		"alg null":              {account(jwstest.Header{"alg": nil}), acme.Malformed},
		"alg a list":            {account(jwstest.Header{"alg": []string{"ES256"}}), acme.Malformed},
		"x5c that isn't one":    {account(jwstest.Header{"x5c": []string{"AAAA"}}), acme.Malformed},
		"deep nesting": {account(jwstest.Header{"a": json.RawMessage(strings.Repeat("[", 16) + strings.Repeat("]", 16))}),
			acme.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			m := jwstest.Sign(t, key, test.header, map[string]any{})
			_, problem := jws.Parse(m)
			expect(t, problem, test.want)
		})
	}
}

func TestDoubledHeaderMembers(t *testing.T) {
	key := jwstest.NewKey(t, "ES256")
	jwk := string(jwstest.JWK(t, key))
	rest := `"alg":"ES256","nonce":"` + nonce + `","url":"` + orderURL + `"`
	for name, header := range map[string]string{
		"alg":            `{"alg":"none",` + rest + `,"kid":"` + accountURL + `"}`,
		"alg, the same":  `{"alg":"ES256",` + rest + `,"kid":"` + accountURL + `"}`,
		"alg, escaped":   `{"\u0061lg":"ES256",` + rest + `,"kid":"` + accountURL + `"}`,
		"kid":            `{"kid":"https://ca.test/acme/acct/2",` + rest + `,"kid":"` + accountURL + `"}`,
		"url":            `{"url":"https://ca.test/acme/x",` + rest + `,"kid":"` + accountURL + `"}`,
		"nonce":          `{"nonce":"AAAA",` + rest + `,"kid":"` + accountURL + `"}`,
		"jwk":            `{"jwk":{},` + rest + `,"jwk":` + jwk + `}`,
		"inside the jwk": `{` + rest + `,"jwk":{"kty":"RSA",` + jwk[1:] + `}`,
		"unknown":        `{"a":1,"a":2,` + rest + `,"kid":"` + accountURL + `"}`,
		"unknown, deep":  `{"a":{"b":1,"b":2},` + rest + `,"kid":"` + accountURL + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			// Signed as it stands: with the plain header instead, the same would be accepted.
			_, problem := jws.Parse(jwstest.SignRaw(t, key, header, nil))
			expect(t, problem, acme.Malformed)
		})
	}
	parse(t, jwstest.SignRaw(t, key, `{`+rest+`,"kid":"`+accountURL+`"}`, nil))
}

func TestRefusedAlgorithms(t *testing.T) {
	key := jwstest.NewKey(t, "RS256")
	for _, algorithm := range []string{
		"none", "None", "", "HS256", "HS384", "HS512", "RS384", "RS512", "PS256", "PS384", "PS512", "rs256", "RS256 ", "RS1",
		"ES256K", "Ed25519", "Ed448", "ML-DSA-44", "RSA-OAEP", "dir", "A128KW", strings.Repeat("x", 5000), "\x1b[31m",
	} {
		t.Run(acme.Printable(algorithm, 20), func(t *testing.T) {
			for _, header := range []jwstest.Header{
				accountHeader(jwstest.Header{"alg": algorithm}),
				newHeader(jwstest.JWK(t, key), jwstest.Header{"alg": algorithm}),
				accountHeader(jwstest.Header{"alg": algorithm, "nonce": jwstest.Omit}),
			} {
				_, problem := jws.Parse(jwstest.Sign(t, key, header, nil))
				expect(t, problem, acme.BadSignatureAlgorithm)
				if problem != nil && !slices.Equal(problem.Algorithms, jws.Algorithms()) {
					t.Errorf("the problem lists %v", problem.Algorithms)
				}
			}
		})
	}
}

// The classic confusion: a public key, which everybody has, is used as the secret of a MAC.
func TestAPublicKeyIsNoMACKey(t *testing.T) {
	key := jwstest.NewKey(t, "RS256")
	jwk := jwstest.JWK(t, key)
	for _, algorithm := range jws.MACAlgorithms() {
		_, problem := jws.Parse(jwstest.MAC(t, jwk, newHeader(jwk, jwstest.Header{"alg": algorithm}), nil))
		expect(t, problem, acme.BadSignatureAlgorithm)
	}
	// The same under a name of a signature algorithm is read, and verifies with nothing.
	m := parse(t, jwstest.MAC(t, jwk, accountHeader(jwstest.Header{"alg": "RS256"}), nil))
	expect(t, m.Verify(jwstest.Key(t, key)), acme.Malformed)
}

func TestKeyAndAlgorithmMustMatch(t *testing.T) {
	for _, of := range jws.Algorithms() {
		key := jwstest.NewKey(t, of)
		for _, named := range jws.Algorithms() {
			if of == named {
				continue
			}
			t.Run(of+" key as "+named, func(t *testing.T) {
				_, problem := jws.Parse(jwstest.Sign(t, key, newHeader(jwstest.JWK(t, key), jwstest.Header{"alg": named}), nil))
				expect(t, problem, acme.BadSignatureAlgorithm)
				m := parse(t, jwstest.Sign(t, key, accountHeader(jwstest.Header{"alg": named}), nil))
				problem = m.Verify(jwstest.Key(t, key))
				expect(t, problem, acme.BadSignatureAlgorithm)
				if !slices.Equal(problem.Algorithms, []string{of}) {
					t.Errorf("the problem lists %v, not what the key is used with", problem.Algorithms)
				}
			})
		}
	}
}

func TestNothingOfASignedRequestCanBeChanged(t *testing.T) {
	key := jwstest.NewKey(t, "ES256")
	public := jwstest.Key(t, key)
	m := parse(t, jwstest.Sign(t, key, accountHeader(nil), map[string]string{"status": "deactivated"}))
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	rapid.Check(t, func(t *rapid.T) {
		parts := [3]string{m.Protected, m.Payload, m.Signature}
		which := rapid.IntRange(0, 2).Draw(t, "part")
		part := []byte(parts[which])
		at := rapid.IntRange(0, len(part)-1).Draw(t, "place")
		part[at] = rapid.SampledFrom([]byte(alphabet)).Draw(t, "character")
		parts[which] = string(part)
		if parts == [3]string{m.Protected, m.Payload, m.Signature} {
			return
		}
		changed, problem := jws.FromParts(parts[0], parts[1], parts[2])
		if problem == nil && changed.Verify(public) == nil {
			t.Fatalf("%q verifies", parts)
		}
	})
}

func TestPartsOfTwoRequestsDoNotMix(t *testing.T) {
	key := jwstest.NewKey(t, "EdDSA")
	a := parse(t, jwstest.Sign(t, key, accountHeader(nil), map[string]string{"a": "1"}))
	b := parse(t, jwstest.Sign(t, key, accountHeader(jwstest.Header{"url": accountURL}), map[string]string{"b": "2"}))
	for _, parts := range [][3]string{
		{a.Protected, b.Payload, a.Signature}, {a.Protected, b.Payload, b.Signature}, {b.Protected, a.Payload, a.Signature},
		{a.Protected, a.Payload, b.Signature}, {a.Protected, "", a.Signature},
	} {
		m, problem := jws.FromParts(parts[0], parts[1], parts[2])
		if problem != nil {
			t.Fatal(problem)
		}
		expect(t, m.Verify(jwstest.Key(t, key)), acme.Malformed)
	}
}

// A message that does not come from Parse has no signature.
func TestNothingToVerify(t *testing.T) {
	key := jwstest.NewKey(t, "EdDSA")
	m := parse(t, jwstest.Sign(t, key, accountHeader(nil), nil))
	for name, problem := range map[string]*acme.Problem{
		"no key":     m.Verify(nil),
		"no message": (*jws.Message)(nil).Verify(jwstest.Key(t, key)),
		"not parsed": (&jws.Message{Header: m.Header}).Verify(jwstest.Key(t, key)),
	} {
		if problem == nil || problem.Type != acme.ServerInternal {
			t.Errorf("%s: the problem is %v", name, problem)
		}
	}
}
