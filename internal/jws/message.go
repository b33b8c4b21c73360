package jws

import (
	"net/http"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/acmeca/acmeca/api/acme"
)

// Size limits of a message and its parts, in bytes as sent.
const (
	MaxMessage   = 64 << 10
	MaxProtected = 16 << 10
	// MaxSignature exceeds the 683 bytes of an RSA-4096 signature.
	MaxSignature = 1 << 10
)

// Message is a request whose header was checked. Nothing in it is authenticated before Verify.
type Message struct {
	// Protected, Payload and Signature are the three parts as sent, base64url.
	Protected, Payload, Signature string
	Header                        Header
	// Body is the decoded payload.
	Body []byte

	signed *jose.JSONWebSignature
}

// Parse reads a request in the flattened JSON form (RFC 7515 section 7.2.2), the only form that RFC 8555 section 6.2 allows.
// Unknown members are ignored. The problem is malformed, badSignatureAlgorithm or badPublicKey, or badNonce if only the nonce
// is missing.
func Parse(body []byte) (*Message, *acme.Problem) {
	return requestForm.parse("the request body", body)
}

// FromParts reads a request from its three parts. The problem is one of Parse.
func FromParts(protected, payload, signature string) (*Message, *acme.Problem) {
	return requestForm.fromParts(protected, payload, signature)
}

// ParseKeyChange reads the inner request of a key change from the body of the outer request (RFC 8555 section 7.3.5). The
// inner header has the new key as "jwk", and no nonce. The caller verifies the inner request with the new key, and compares its
// URL with the URL of the outer request.
func ParseKeyChange(body []byte) (*Message, *acme.Problem) {
	return keyChangeForm.parse("the inner request", body)
}

func (f form) parse(name string, body []byte) (*Message, *acme.Problem) {
	if len(body) > MaxMessage {
		return nil, tooLarge(name, MaxMessage)
	}
	o, problem := parseObject(name, body)
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
	// The signature of a key that is too large is too large itself. parseHeader has refused such a key with badPublicKey.
	if len(signature) > MaxSignature {
		return nil, tooLarge("the signature", MaxSignature)
	}
	// The compact form cannot have an unprotected header or a second signature. go-jose parses the header again, with its own
	// list of accepted algorithms.
	var err error
	if m.signed, err = jose.ParseSignedCompact(protected+"."+payload+"."+signature, f.algorithms); err != nil {
		return nil, malformed("the request is not a JWS: %s", reason(err))
	}
	return m, nil
}

// IsPOSTAsGET reports whether the request is a POST-as-GET: its payload is the empty string (RFC 8555 section 6.3).
func (m *Message) IsPOSTAsGET() bool { return m.Payload == "" }

// Verify verifies the signature. The problem is badSignatureAlgorithm if the key does not fit the message's algorithm, and
// otherwise malformed.
func (m *Message) Verify(key *Key) *acme.Problem {
	if m == nil || m.signed == nil || key == nil {
		return acme.NewProblem(acme.ServerInternal, "no signature or no key to verify")
	}
	if problem := key.checkAlgorithm(m.Header.Algorithm); problem != nil {
		return problem
	}
	if _, err := m.signed.Verify(key.public); err != nil {
		return malformed("the signature does not verify")
	}
	return nil
}

func tooLarge(name string, limit int) *acme.Problem {
	return malformed("%s is larger than %d bytes", name, limit).WithStatus(http.StatusRequestEntityTooLarge)
}

// reason returns the text of a go-jose error without its prefix.
func reason(err error) string {
	return acme.Printable(strings.TrimPrefix(err.Error(), "go-jose/go-jose: "), 200)
}
