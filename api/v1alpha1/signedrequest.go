package v1alpha1

import (
	"encoding/base64"
	"strings"
)

// jwsEncoding is the encoding of the parts of a JWS (RFC 7515 section 2).
var jwsEncoding = base64.RawURLEncoding.Strict()

// NewSignedRequest returns the stored form of a request, whose parts are in base64url. A JSON object of printable ASCII characters, as
// clients send, is stored as text: it is shorter, and people can read it.
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
	if err != nil || !isObject(text) || strings.HasPrefix(text, shortened) || encoded(text) != part {
		return part
	}
	if short := shorten(text); expand(short) == text {
		return short
	}
	return text
}

func encoded(part string) string {
	if !isObject(part) {
		return part
	}
	return jwsEncoding.EncodeToString([]byte(expand(part)))
}

// shortened begins a JSON object that has apostrophes for quotation marks, which need no escape within JSON, and a tilde for the second
// occurrence of the base of the first URL. No JSON object begins so.
const shortened = "{'"

// shorten returns a shorter form of a JSON object, from which expand restores it.
func shorten(text string) string {
	if !strings.HasPrefix(text, `{"`) || strings.ContainsAny(text, "'~") {
		return text
	}
	text = strings.ReplaceAll(text, `"`, "'")
	if base, end := firstBase(text); base != "" {
		text = text[:end] + strings.Replace(text[end:], base, "~", 1)
	}
	return text
}

// expand restores a JSON object. The result is less than twice as long.
func expand(text string) string {
	if !strings.HasPrefix(text, shortened) {
		return text
	}
	if base, end := firstBase(text); base != "" {
		text = text[:end] + strings.Replace(text[end:], "~", base, 1)
	}
	return strings.ReplaceAll(text, "'", `"`)
}

// firstBase returns the base of the first URL of a shortened object, up to "/acme/", and its end in the object.
func firstBase(text string) (base string, end int) {
	scheme := strings.Index(text, "://")
	if scheme < 0 {
		return "", 0
	}
	begin := strings.LastIndexByte(text[:scheme], '\'') + 1
	length := strings.Index(text[begin:], "/acme/")
	if length < 0 || strings.ContainsAny(text[begin:begin+length], "'~") {
		return "", 0
	}
	end = begin + length + len("/acme/")
	return text[begin:end], end
}

// isObject reports whether a text is not base64url, but has the form of a JSON object of printable ASCII characters.
func isObject(text string) bool {
	notPrintable := func(r rune) bool { return r < ' ' || r > '~' }
	return strings.HasPrefix(text, "{") && strings.HasSuffix(text, "}") && strings.IndexFunc(text, notPrintable) < 0
}
