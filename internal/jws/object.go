package jws

import (
	"encoding/base64"
	"errors"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/acmeca/acmeca/api/acme"
)

// maxNesting bounds the depth of JSON objects and arrays. A header needs two levels, because of its JWK.
const maxNesting = 16

// maxReason bounds the text of a syntax error in a problem, in bytes.
const maxReason = 200

// object is a JSON object whose members are not decoded yet.
type object struct {
	// name of the object in problems.
	name    string
	members map[string]jsontext.Value
}

// parseObject reads a JSON object. Unlike encoding/json, its second version refuses duplicate members (two parsers could each
// use another one; RFC 7515 section 4), distinguishes upper and lower case, and refuses invalid UTF-8.
func parseObject(name string, data []byte) (object, *acme.Problem) {
	o := object{name: name}
	if nestedTooDeep(data) {
		return o, malformed("%s is nested deeper than %d levels", name, maxNesting)
	}
	err := json.Unmarshal(data, &o.members)
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return o, malformed("%s is not valid JSON: %s", name, acme.Printable(strings.TrimPrefix(syntax.Error(), "jsontext: "), maxReason))
	}
	if err != nil || o.members == nil { // after null
		return o, malformed("%s is not a JSON object", name)
	}
	return o, nil
}

// nestedTooDeep reports whether brackets outside strings are nested deeper than maxNesting. It needs no valid syntax.
func nestedTooDeep(data []byte) bool {
	depth, inString := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > maxNesting {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

func (o object) has(member string) bool {
	_, ok := o.members[member]
	return ok
}

// text returns a member that must exist and be a string.
func (o object) text(member string) (string, *acme.Problem) {
	raw, ok := o.members[member]
	if !ok {
		return "", malformed("%s has no %q", o.name, member)
	}
	var value string
	// Unmarshal accepts null as "".
	if err := json.Unmarshal(raw, &value); err != nil || raw.Kind() != '"' {
		return "", malformed("%q in %s is not a string", member, o.name)
	}
	return value, nil
}

// refuse returns a problem for the first of the given members that exists.
func (o object) refuse(why string, members ...string) *acme.Problem {
	for _, member := range members {
		if o.has(member) {
			return malformed("%s has %q, which %s", o.name, member, why)
		}
	}
	return nil
}

// decode reads base64url as RFC 7515 section 2 defines it: without padding, line breaks, white space or stray bits, so each
// byte string has one encoding.
func decode(name, text string) ([]byte, *acme.Problem) {
	data, err := base64.RawURLEncoding.Strict().DecodeString(text)
	// Strict decoding still skips line breaks.
	if err != nil || strings.ContainsAny(text, "\r\n") {
		return nil, malformed("%s is not base64url without padding (RFC 7515 section 2)", name)
	}
	return data, nil
}

func malformed(format string, args ...any) *acme.Problem {
	return acme.NewProblem(acme.Malformed, format, args...)
}
