package v1alpha1

import (
	"encoding/base64"
	"strings"
)

// jwsEncoding is the encoding of the parts of a JWS (RFC 7515 section 2).
var jwsEncoding = base64.RawURLEncoding.Strict()

// NewSignedRequest returns the stored form of a request, whose parts are in base64url. A JSON object of printable ASCII characters, as
// clients send, is stored as it is: it is shorter, and people can read it.
func NewSignedRequest(protected, payload, signature string) *SignedRequest {
	return &SignedRequest{Protected: readable(protected), Payload: readable(payload), Signature: signature}
}

// Parts returns the protected header and the payload in base64url, as the client sent and signed them.
func (r *SignedRequest) Parts() (protected, payload string) {
	return encoded(r.Protected), encoded(r.Payload)
}

func readable(part string) string {
	decoded, err := jwsEncoding.DecodeString(part)
	text := string(decoded)
	if err != nil || !isObject(text) || encoded(text) != part {
		return part
	}
	return text
}

func encoded(part string) string {
	if !isObject(part) {
		return part
	}
	return jwsEncoding.EncodeToString([]byte(part))
}

// isObject reports whether a text is not base64url, but has the form of a JSON object of printable ASCII characters.
func isObject(text string) bool {
	notPrintable := func(r rune) bool { return r < ' ' || r > '~' }
	return strings.HasPrefix(text, "{") && strings.HasSuffix(text, "}") && strings.IndexFunc(text, notPrintable) < 0
}
