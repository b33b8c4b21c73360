package jws

import (
	"encoding/base64"
	"errors"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/acmeca/acmeca/api/acme"
)

// maxNesting bounds the depth of JSON objects and arrays: a header needs two (its JWK).
const maxNesting = 16

// maxReason bounds what a problem says of a syntax error, in bytes.
const maxReason = 200

// object is a JSON object with its top-level members still raw.
type object struct {
	// what the object is, for problems.
	what    string
	members map[string]jsontext.Value
}

// parseObject reads a JSON object. Unlike encoding/json, its second version refuses doubled members (RFC 7515 section 4: of two
// parsers each could see another one), tells upper from lower case, and refuses what isn't UTF-8.
func parseObject(what string, data []byte) (object, *acme.Problem) {
	o := object{what: what}
	if nestedTooDeep(data) {
		return o, malformed("%s is nested deeper than %d levels", what, maxNesting)
	}
	err := json.Unmarshal(data, &o.members)
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return o, malformed("%s is not valid JSON: %s", what, acme.Printable(strings.TrimPrefix(syntax.Error(), "jsontext: "), maxReason))
	}
	if err != nil || o.members == nil { // which null leaves it
		return o, malformed("%s is not a JSON object", what)
	}
	return o, nil
}

// nestedTooDeep counts brackets outside of strings. It looks at nothing else, so it may run before the syntax is checked.
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

func (o object) has(name string) bool {
	_, ok := o.members[name]
	return ok
}

// text is a member that must be there and be a string.
func (o object) text(name string) (string, *acme.Problem) {
	raw, ok := o.members[name]
	if !ok {
		return "", malformed("%s has no %q", o.what, name)
	}
	var value string
	// A null would be taken for "".
	if err := json.Unmarshal(raw, &value); err != nil || raw.Kind() != '"' {
		return "", malformed("%q in %s is not a string", name, o.what)
	}
	return value, nil
}

// refuse gives a problem for the first of the named members that is there.
func (o object) refuse(why string, names ...string) *acme.Problem {
	for _, name := range names {
		if o.has(name) {
			return malformed("%s has %q, which %s", o.what, name, why)
		}
	}
	return nil
}

// decode reads base64url as RFC 7515 section 2 defines it: without padding, line breaks, white space or stray bits, so
// that there is one way alone to write the same bytes.
func decode(what, text string) ([]byte, *acme.Problem) {
	data, err := base64.RawURLEncoding.Strict().DecodeString(text)
	// The standard library skips line breaks even when strict.
	if err != nil || strings.ContainsAny(text, "\r\n") {
		return nil, malformed("%s is not base64url without padding (RFC 7515 section 2)", what)
	}
	return data, nil
}

func malformed(format string, args ...any) *acme.Problem {
	return acme.NewProblem(acme.Malformed, format, args...)
}
