package jws

import (
	"net/http"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/acmeca/acmeca/api/acme"
)

// The largest message and parts of one, in bytes as sent.
const (
	MaxMessage   = 64 << 10
	MaxProtected = 16 << 10
	// MaxSignature leaves room beyond RSA with 4096 bits, which takes 683.
	MaxSignature = 1 << 10
)

// Message is a request whose header has been checked. Nothing in it can be trusted before Verify.
type Message struct {
	// Protected, Payload and Signature are the three parts as they were sent, base64url.
	Protected, Payload, Signature string
	Header                        Header
	// Body is the decoded payload.
	Body []byte

	signed *jose.JSONWebSignature
}

// Parse reads a request in the flattened JSON form (RFC 7515 section 7.2.2), which is the only one that RFC 8555 section
// 6.2 allows. Other members are ignored. The problem is malformed, badSignatureAlgorithm, badPublicKey or, where only the
// nonce is missing, badNonce.
func Parse(body []byte) (*Message, *acme.Problem) {
	return requestForm.parse("the request body", body)
}

// FromParts is Parse for a request that is stored in parts.
func FromParts(protected, payload, signature string) (*Message, *acme.Problem) {
	return requestForm.fromParts(protected, payload, signature)
}

// ParseKeyChange reads the inner request of a key change, from the outer one's body (RFC 8555 section 7.3.5). It has a
// jwk, the new key, and no nonce. The caller verifies it with that key, and compares its URL with the outer one's.
func ParseKeyChange(body []byte) (*Message, *acme.Problem) {
	return keyChangeForm.parse("the inner request", body)
}

func (f form) parse(what string, body []byte) (*Message, *acme.Problem) {
	if len(body) > MaxMessage {
		return nil, tooLarge(what, MaxMessage)
	}
	o, problem := parseObject(what, body)
	if problem != nil {
		return nil, problem
	}
	if problem := o.refuse("RFC 8555 section 6.2 forbids", "signatures", "header"); problem != nil {
		return nil, problem
	}
	var protected, payload, signature string
	for _, part := range []struct {
		name string
		into *string
	}{{"protected", &protected}, {"payload", &payload}, {"signature", &signature}} {
		if *part.into, problem = o.text(part.name); problem != nil {
			return nil, problem
		}
	}
	return f.fromParts(protected, payload, signature)
}

func (f form) fromParts(protected, payload, signature string) (*Message, *acme.Problem) {
	switch {
	case len(protected) > MaxProtected:
		return nil, tooLarge("the protected header", MaxProtected)
	case len(signature) > MaxSignature:
		return nil, tooLarge("the signature", MaxSignature)
	case len(protected)+len(payload)+len(signature) > MaxMessage:
		return nil, tooLarge("the request", MaxMessage)
	case signature == "":
		return nil, malformed("the signature is empty")
	}
	m := &Message{Protected: protected, Payload: payload, Signature: signature}
	header, problem := decode("\"protected\"", protected)
	if problem != nil {
		return nil, problem
	}
	if m.Body, problem = decode("\"payload\"", payload); problem != nil {
		return nil, problem
	}
	if _, problem := decode("\"signature\"", signature); problem != nil {
		return nil, problem
	}
	if m.Header, problem = f.parseHeader(header); problem != nil {
		return nil, problem
	}
	// The compact form has no place for an unprotected header or a second signature. go-jose reads the header once more,
	// with its own list of algorithms to hold it to.
	var err error
	if m.signed, err = jose.ParseSignedCompact(protected+"."+payload+"."+signature, f.algorithms); err != nil {
		return nil, malformed("the request is not a JWS: %s", reason(err))
	}
	return m, nil
}

// IsPOSTAsGET reports whether the request only reads: its payload is the empty string (RFC 8555 section 6.3).
func (m *Message) IsPOSTAsGET() bool { return m.Payload == "" }

// Verify checks the signature. The problem is badSignatureAlgorithm where the key isn't used with the message's algorithm,
// and else malformed.
func (m *Message) Verify(key *Key) *acme.Problem {
	if m == nil || m.signed == nil || key == nil {
		return acme.NewProblem(acme.ServerInternal, "there is no signature or no key to verify")
	}
	if problem := key.checkAlgorithm(m.Header.Algorithm); problem != nil {
		return problem
	}
	if _, err := m.signed.Verify(key.public); err != nil {
		return malformed("the signature does not verify")
	}
	return nil
}

func tooLarge(what string, limit int) *acme.Problem {
	return malformed("%s is larger than %d bytes", what, limit).WithStatus(http.StatusRequestEntityTooLarge)
}

// reason is what go-jose says of a message, without its name.
func reason(err error) string {
	return acme.Printable(strings.TrimPrefix(err.Error(), "go-jose/go-jose: "), 200)
}
