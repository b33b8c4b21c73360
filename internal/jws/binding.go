package jws

import (
	"github.com/acmeca/acmeca/api/acme"
)

// MaxBindingKeyID bounds the key identifier of an external account binding, in bytes.
const MaxBindingKeyID = 128

// EAB is an external account binding (RFC 8555 section 7.3.4): a JWS over the account's public key, with a MAC by a key that the
// CA issued beforehand.
type EAB struct {
	// Algorithm is one of MACAlgorithms.
	Algorithm string
	// KeyID names the MAC key.
	KeyID string
	// URL must equal the URL of the outer request.
	URL string
	// Key is the payload. It must be the key that signed the outer request.
	Key *Key

	message *Message
}

// ParseExternalAccountBinding reads the "externalAccountBinding" member of a newAccount request. Nothing in it is authenticated
// before Verify. The caller compares URL and Key with those of the outer request. The problem is malformed,
// badSignatureAlgorithm or badPublicKey.
func ParseExternalAccountBinding(raw []byte) (*EAB, *acme.Problem) {
	m, problem := bindingForm.parse("the external account binding", raw)
	if problem != nil {
		return nil, problem
	}
	key, problem := ParseKey(m.Body)
	if problem != nil {
		return nil, problem
	}
	return &EAB{Algorithm: m.Header.Algorithm, KeyID: m.Header.KeyID, URL: m.Header.URL, Key: key, message: m}, nil
}

// Verify verifies the MAC in constant time. It refuses a key shorter than the algorithm's digest (RFC 7518 section 3.2), hence an
// empty one. The problem is unauthorized.
func (e *EAB) Verify(hmacKey []byte) *acme.Problem {
	if _, err := e.message.signed.Verify(hmacKey); err != nil {
		return acme.NewProblem(acme.Unauthorized, "the MAC of the external account binding does not verify, or its key is too short for %s",
			e.Algorithm)
	}
	return nil
}

// checkBindingKeyID refuses a key ID that is not an "ASCII string" (RFC 8555 section 7.3.4) of accepted length.
func checkBindingKeyID(kid string) *acme.Problem {
	if kid == "" || len(kid) > MaxBindingKeyID || acme.Printable(kid, MaxBindingKeyID) != kid {
		return malformed("\"kid\" in the external account binding is not 1 to %d characters of printable ASCII", MaxBindingKeyID)
	}
	return nil
}
