package acme

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"
	"time"
)

// The payloads that both halves read: the ACME server from the request, the controllers again from what the client signed.
// Unknown members are ignored (RFC 8555 section 7.1).

// AccountRequest is the payload of newAccount and of an account update (RFC 8555 section 7.3 and 7.3.2).
type AccountRequest struct {
	Contact                []string        `json:"contact"`
	TermsOfServiceAgreed   bool            `json:"termsOfServiceAgreed"`
	OnlyReturnExisting     bool            `json:"onlyReturnExisting"`
	ExternalAccountBinding json.RawMessage `json:"externalAccountBinding"`
	Status                 State           `json:"status"`
}

// OrderRequest is the payload of newOrder (RFC 8555 section 7.4, RFC 9773 section 5, draft-ietf-acme-profiles).
type OrderRequest struct {
	Identifiers []OrderIdentifier `json:"identifiers"`
	NotBefore   time.Time         `json:"notBefore"`
	NotAfter    time.Time         `json:"notAfter"`
	Profile     string            `json:"profile"`
	Replaces    string            `json:"replaces"`
}

// OrderIdentifier is an identifier in a newOrder request. AncestorDomain is a domain above it that the client can prove
// control of instead (RFC 9444 section 4.3); "" for none.
type OrderIdentifier struct {
	Identifier
	AncestorDomain string `json:"ancestorDomain"`
}

// AuthorizationRequest is the payload of newAuthz (RFC 8555 section 7.4.1).
type AuthorizationRequest struct {
	Identifier AuthorizationIdentifier `json:"identifier"`
}

// AuthorizationIdentifier is the identifier in a newAuthz request, for which the authorization may be asked to count for
// all names below it too (RFC 9444 section 4.2).
type AuthorizationIdentifier struct {
	Identifier
	SubdomainAuthAllowed bool `json:"subdomainAuthAllowed"`
}

// KeyChangeRequest is the payload of the inner JWS of a key change (RFC 8555 section 7.3.5).
type KeyChangeRequest struct {
	Account string          `json:"account"`
	OldKey  json.RawMessage `json:"oldKey"`
}

// RevocationRequest is the payload of revokeCert (RFC 8555 section 7.6).
type RevocationRequest struct {
	Certificate Bytes `json:"certificate"`
	Reason      int   `json:"reason"`
}

// RevocationReasons are the codes (RFC 5280 section 5.3.1) that a subscriber may give: unspecified, keyCompromise,
// affiliationChanged, superseded, cessationOfOperation and privilegeWithdrawn. The others are the CA's to give, or mean
// that the certificate comes back.
var RevocationReasons = []int{0, 1, 3, 4, 5, 9}

// RevocationReasonNames are RFC 5280's names of the RevocationReasons.
var RevocationReasonNames = map[int]string{
	0: "unspecified", 1: "keyCompromise", 3: "affiliationChanged", 4: "superseded", 5: "cessationOfOperation", 9: "privilegeWithdrawn",
}

// CheckRevocationReason gives badRevocationReason for a code that may not be given.
func CheckRevocationReason(reason int) *Problem {
	if slices.Contains(RevocationReasons, reason) {
		return nil
	}
	return NewProblem(BadRevocationReason, "reason code %d is not accepted; these are: %v", reason, RevocationReasons)
}

// Bytes is binary data in a payload: base64url without padding (RFC 8555 section 6.1).
type Bytes []byte

// UnmarshalJSON implements json.Unmarshaler.
func (b *Bytes) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	var err error
	*b, err = base64.RawURLEncoding.Strict().DecodeString(text)
	return err
}

// Unmarshal reads a payload, which is an object; the problem is malformed.
func Unmarshal(payload []byte, into any) *Problem {
	if !bytes.HasPrefix(bytes.TrimLeft(payload, " \t\r\n"), []byte("{")) { // null would be taken for any of them
		return NewProblem(Malformed, "the payload is not what this resource takes: it is no JSON object")
	}
	if err := json.Unmarshal(payload, into); err != nil {
		return NewProblem(Malformed, "the payload is not what this resource takes: %s", Printable(err.Error(), 200))
	}
	return nil
}

// FinalizeCSR reads the DER of the CSR from the payload of a finalize request (RFC 8555 section 7.4).
func FinalizeCSR(payload []byte) ([]byte, *Problem) {
	var request struct {
		CSR Bytes `json:"csr"`
	}
	if problem := Unmarshal(payload, &request); problem != nil {
		return nil, problem
	}
	if len(request.CSR) == 0 {
		return nil, NewProblem(Malformed, "\"csr\" is missing")
	}
	return request.CSR, nil
}
