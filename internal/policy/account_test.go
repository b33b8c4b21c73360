package policy

import (
	"crypto"
	"slices"
	"strings"
	"testing"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/internal/jws"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
)

func TestContacts(t *testing.T) {
	long := "mailto:" + strings.Repeat("a", 60) + "@" + strings.Repeat(strings.Repeat("b", 60)+".", 4) + "test"
	for _, c := range []struct {
		contact string
		want    acme.ProblemType // "" for accepted
	}{
		{"mailto:admin@example.com", ""},
		{"MAILTO:Admin+acme@Example.COM", ""},
		{"mailto:o'brien@example.com", ""},
		{long, ""},
		{"mailto: admin@example.com", ""}, // getssl
		{"mailto:admin@example.com ", ""},
		{"tel:+1-201-555-0123", acme.UnsupportedContact},
		{"https://example.com/contact", acme.UnsupportedContact},
		{"admin@example.com", acme.InvalidContact},
		{"", acme.InvalidContact},
		{"mailto:", acme.InvalidContact},
		{"mailto:admin", acme.InvalidContact},
		{"mailto:@example.com", acme.InvalidContact},
		{"mailto:a@b.example,c@d.example", acme.InvalidContact},
		{"mailto:a@b.example?subject=hello", acme.InvalidContact},
		{"mailto:a@b.example%0d%0aBcc: x@y.example", acme.InvalidContact},
		{"mailto:Name <a@b.example>", acme.InvalidContact},
		{"mailto:\"a b\"@b.example", acme.InvalidContact},
		{"mailto:a@[192.0.2.1]", acme.InvalidContact},
		{"mailto:a@192.0.2.1", acme.InvalidContact},
		{"mailto:é@b.example", acme.InvalidContact},
		{"mailto:a@b.example\n", acme.InvalidContact},
		{"mailto:\u202ea@b.example", acme.InvalidContact},
		{"mailto:" + strings.Repeat("a", 60) + "\u202e@" + strings.Repeat("b", 60) + ".example", acme.InvalidContact},
		{"mailto:\"" + strings.Repeat("é", 30) + "\"@" + strings.Repeat("b", 60) + ".example", acme.InvalidContact},
		{"mailto: ", acme.InvalidContact},
		{"mailto:a b@example.com", acme.InvalidContact},
		{"mailto:" + strings.Repeat("a", 320) + "@b.example", acme.InvalidContact},
	} {
		problem := Contacts([]string{"mailto:fine@example.com", c.contact}, true)
		if c.want == "" && problem != nil || c.want != "" && (problem == nil || problem.Type != c.want) {
			t.Errorf("%q: %v, want %q", c.contact, problem, c.want)
		}
	}
	if problem := Contacts(nil, false); problem != nil {
		t.Errorf("none where none is wanted: %v", problem)
	}
	if problem := Contacts([]string{}, true); problem == nil || problem.Type != acme.InvalidContact {
		t.Errorf("none where one is wanted: %v", problem)
	}
	if problem := Contacts(slices.Repeat([]string{"mailto:a@b.example"}, MaxContacts+1), false); problem == nil {
		t.Error("too many")
	}
}

// The checks of RFC 8555 section 7.3.5 that need no more than the request and the account's key.
func TestKeyChange(t *testing.T) {
	const account, url = "https://ca.example/acme/acct/a", "https://ca.example/acme/key-change"
	old, next, other := jwstest.NewKey(t, "ES256"), jwstest.NewKey(t, "EdDSA"), jwstest.NewKey(t, "ES256")
	jwk := func(key crypto.Signer) any { return jwstest.JWK(t, key) }
	change := map[string]any{"account": account, "oldKey": jwk(old)}
	signed := func(key crypto.Signer, header jwstest.Header, payload any) []byte {
		return jwstest.Sign(t, key, header, payload)
	}
	for name, c := range map[string]struct {
		inner []byte
		want  acme.ProblemType // "" for accepted
	}{
		"right":                       {signed(next, jwstest.Header{"jwk": jwk(next), "url": url}, change), ""},
		"no request":                  {[]byte(`{"account": "x"}`), acme.Malformed},
		"signed by the old key":       {signed(old, jwstest.Header{"alg": "EdDSA", "jwk": jwk(next), "url": url}, change), acme.Malformed},
		"signed by a third key":       {signed(other, jwstest.Header{"jwk": jwk(old), "url": url}, change), acme.Malformed},
		"without its key":             {signed(next, jwstest.Header{"kid": account, "url": url}, change), acme.Malformed},
		"with a nonce":                {signed(next, jwstest.Header{"jwk": jwk(next), "url": url, "nonce": "AAAA"}, change), acme.Malformed},
		"for another URL":             {signed(next, jwstest.Header{"jwk": jwk(next), "url": account}, change), acme.Malformed},
		"for another account":         {signed(next, jwstest.Header{"jwk": jwk(next), "url": url}, map[string]any{"account": account + "b", "oldKey": jwk(old)}), acme.Malformed},
		"of another key":              {signed(next, jwstest.Header{"jwk": jwk(next), "url": url}, map[string]any{"account": account, "oldKey": jwk(other)}), acme.Malformed},
		"of no key":                   {signed(next, jwstest.Header{"jwk": jwk(next), "url": url}, map[string]any{"account": account}), acme.Malformed},
		"with another payload":        {signed(next, jwstest.Header{"jwk": jwk(next), "url": url}, []int{1}), acme.Malformed},
		"to the key that there is":    {signed(old, jwstest.Header{"jwk": jwk(old), "url": url}, change), acme.Malformed},
		"to a key that isn't allowed": {signed(jwstest.NewKey(t, "ES512"), jwstest.Header{"jwk": jwk(next), "url": url, "alg": "ES512"}, change), acme.BadSignatureAlgorithm},
	} {
		t.Run(name, func(t *testing.T) {
			outer, problem := jws.Parse(jwstest.Sign(t, old, jwstest.Header{"kid": account, "nonce": "AAAA", "url": url}, c.inner))
			if problem != nil {
				t.Fatal(problem)
			}
			key, problem := KeyChange(outer, string(jwstest.JWK(t, old)))
			if c.want == "" && (problem != nil || !key.Equal(jwstest.Key(t, next))) {
				t.Errorf("%v, %v", key, problem)
			}
			if c.want != "" && (problem == nil || problem.Type != c.want || key != nil) {
				t.Errorf("%v, %v, want %s", key, problem, c.want)
			}
		})
	}
}
