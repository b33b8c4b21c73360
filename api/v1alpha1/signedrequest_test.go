package v1alpha1_test

import (
	"encoding/base64"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// What a client signed must come back byte for byte, or its signature does not verify.
func TestARequestComesBackAsItWasSigned(t *testing.T) {
	part := rapid.OneOf(
		rapid.Custom(func(t *rapid.T) string {
			text := rapid.OneOf(rapid.StringMatching(`\{[ -~]{0,40}\}`), rapid.StringMatching(`\{["'](["'~:]|a://|b/acme/){0,12}\}`), rapid.StringMatching(`\{.{0,9}\}`), rapid.String()).Draw(t, "text")
			return base64.RawURLEncoding.EncodeToString([]byte(text))
		}),
		rapid.StringMatching(`[A-Za-z0-9_-]{0,20}`),
	)
	schema := regexp.MustCompile(`^([A-Za-z0-9_-]*|\{[ -~]*\})$`) // of protected and payload
	rapid.Check(t, func(t *rapid.T) {
		header, payload := part.Draw(t, "protected"), part.Draw(t, "payload")
		request := v1alpha1.NewSignedRequest(header, payload, "c2ln")
		if h, p := request.Parts(); h != header || p != payload || request.Signature != "c2ln" {
			t.Errorf("%+v is %q and %q", request, h, p)
		}
		if !schema.MatchString(request.Protected) || !schema.MatchString(request.Payload) {
			t.Errorf("%+v does not fit the schema", request)
		}
		asSent := &v1alpha1.SignedRequest{Protected: header, Payload: payload, Signature: "c2ln"} // as earlier versions stored it
		if request.ID() != asSent.ID() || request.Digest() != asSent.Digest() {
			t.Errorf("the forms of a request have different identities: %+v", request)
		}
	})
}

func TestAHeaderIsStoredShort(t *testing.T) {
	for name, c := range map[string]struct{ header, stored string }{
		"as most clients send it": {
			`{"alg":"ES256","kid":"https://ca.test/acme/acct/a","nonce":"AA","url":"https://ca.test/acme/order/o/finalize"}`,
			`{'alg':'ES256','kid':'https://ca.test/acme/acct/a','nonce':'AA','url':'~order/o/finalize'}`,
		},
		"as certbot sends it": {
			`{"alg": "RS256", "kid": "https://ca.test/ns/ca/acme/acct/a", "nonce": "AA", "url": "https://ca.test/ns/ca/acme/chall/c"}`,
			`{'alg': 'RS256', 'kid': 'https://ca.test/ns/ca/acme/acct/a', 'nonce': 'AA', 'url': '~chall/c'}`,
		},
		"as acme.sh sends it": {
			`{"nonce": "AA", "url": "https://ca.test/acme/order/o/finalize", "alg": "ES256", "kid": "https://ca.test/acme/acct/a"}`,
			`{'nonce': 'AA', 'url': 'https://ca.test/acme/order/o/finalize', 'alg': 'ES256', 'kid': '~acct/a'}`,
		},
		"with two bases":     {`{"kid":"https://a.test/acme/acct/a","url":"https://b.test/acme/x"}`, `{'kid':'https://a.test/acme/acct/a','url':'https://b.test/acme/x'}`},
		"with a tilde":       {`{"url":"https://a.test/acme/~"}`, `{"url":"https://a.test/acme/~"}`},
		"with an apostrophe": {`{"url":"'"}`, `{"url":"'"}`},
		"that is no JSON":    {`{'url':'~'}`, base64.RawURLEncoding.EncodeToString([]byte(`{'url':'~'}`))},
	} {
		t.Run(name, func(t *testing.T) {
			sent := base64.RawURLEncoding.EncodeToString([]byte(c.header))
			request := v1alpha1.NewSignedRequest(sent, "", "c2ln")
			if request.Protected != c.stored {
				t.Errorf("stored as %q", request.Protected)
			}
			if protected, _ := request.Parts(); protected != sent {
				t.Errorf("restored as %q", protected)
			}
		})
	}
}

// The ACME server could store a request that grows when it is read.
func TestARestoredRequestIsBounded(t *testing.T) {
	text := "{'a':'b://" + strings.Repeat("c", 1000) + "/acme/" + strings.Repeat("~", 1000) + "'}"
	protected, _ := (&v1alpha1.SignedRequest{Protected: text}).Parts()
	if decoded := base64.RawURLEncoding.DecodedLen(len(protected)); decoded > 2*len(text) {
		t.Errorf("%d bytes become %d", len(text), decoded)
	}
}

func TestJSONIsStoredReadably(t *testing.T) {
	for text, readable := range map[string]bool{
		`{}`: true, `{"csr":"AA"}`: true, `{ "a" : "b" }`: true, `{"a":"<&>"}`: true,
		``: false, `[]`: false, "{\n}": false, `{"a":"é"}`: false, "{\x7f}": false, `{} `: false,
	} {
		request := v1alpha1.NewSignedRequest("e30", base64.RawURLEncoding.EncodeToString([]byte(text)), "c2ln")
		if got := strings.ReplaceAll(request.Payload, "'", `"`) == text && text != ""; got != readable {
			t.Errorf("%q is stored as %q", text, request.Payload)
		}
	}
	if got := v1alpha1.NewSignedRequest("e31", "", "").Protected; got != "e31" {
		t.Errorf("base64url with superfluous bits is stored as %q", got)
	}
}
