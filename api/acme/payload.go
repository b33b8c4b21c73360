package acme

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The payloads of requests. Both halves read them: the ACME server from the request, the controllers from the stored request.
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

// UnmarshalJSON implements json.Unmarshaler. An empty time is absent: some clients send "" for a time that they do not set.
func (r *OrderRequest) UnmarshalJSON(data []byte) error {
	type members OrderRequest
	request := struct {
		*members
		NotBefore string `json:"notBefore"`
		NotAfter  string `json:"notAfter"`
	}{members: (*members)(r)}
	if err := json.Unmarshal(data, &request); err != nil {
		return err
	}
	var err error
	if r.NotBefore, err = parseTime("notBefore", request.NotBefore); err != nil {
		return err
	}
	r.NotAfter, err = parseTime("notAfter", request.NotAfter)
	return err
}

// parseTime reads a member that is a time, or returns zero for "".
func parseTime(name, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	parsed, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, valueError(fmt.Sprintf("%q is not a time such as 2026-01-01T00:00:00Z (RFC 3339)", name))
	}
	return parsed, nil
}

// valueError is a fault of a payload, as a sentence for the client.
type valueError string

func (e valueError) Error() string { return string(e) }

// OrderIdentifier is an identifier in a newOrder request. AncestorDomain is a parent domain that the client can prove control
// of instead (RFC 9444 section 4.3), or "".
type OrderIdentifier struct {
	Identifier
	AncestorDomain string `json:"ancestorDomain"`
}

// AuthorizationRequest is the payload of newAuthz (RFC 8555 section 7.4.1).
type AuthorizationRequest struct {
	Identifier AuthorizationIdentifier `json:"identifier"`
}

// AuthorizationIdentifier is the identifier in a newAuthz request. SubdomainAuthAllowed asks for an authorization that also covers
// all names below it (RFC 9444 section 4.2).
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

// RevocationReasons lists the reason codes (RFC 5280 section 5.3.1) that a subscriber may use: unspecified, keyCompromise,
// affiliationChanged, superseded, cessationOfOperation and privilegeWithdrawn. The other codes are reserved for the CA, or make a
// revocation temporary.
var RevocationReasons = []int{0, 1, 3, 4, 5, 9}

// RevocationReasonNames maps RevocationReasons to their names in RFC 5280.
var RevocationReasonNames = map[int]string{
	0: "unspecified", 1: "keyCompromise", 3: "affiliationChanged", 4: "superseded", 5: "cessationOfOperation", 9: "privilegeWithdrawn",
}

// CheckRevocationReason returns badRevocationReason for a code that is not in RevocationReasons.
func CheckRevocationReason(reason int) *Problem {
	if slices.Contains(RevocationReasons, reason) {
		return nil
	}
	return NewProblem(BadRevocationReason, "reason code %d is not accepted; use one of %v", reason, RevocationReasons)
}

// Bytes is binary data in a payload: base64url without padding (RFC 8555 section 6.1).
type Bytes []byte

// UnmarshalJSON implements json.Unmarshaler.
func (b *Bytes) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return valueError("a member is not base64url without padding (RFC 8555 section 6.1)")
	}
	*b = decoded
	return nil
}

// Unmarshal reads a payload, which must be a JSON object. The problem is malformed.
func Unmarshal(payload []byte, into any) *Problem {
	if !bytes.HasPrefix(bytes.TrimLeft(payload, " \t\r\n"), []byte("{")) { // Unmarshal accepts null for any type
		return NewProblem(Malformed, "the payload cannot be used: it is not a JSON object")
	}
	if err := json.Unmarshal(payload, into); err != nil {
		return NewProblem(Malformed, "the payload cannot be used: %s", fault(err))
	}
	return nil
}

// fault explains an error of json.Unmarshal to the client.
func fault(err error) string {
	if value, ok := errors.AsType[valueError](err); ok {
		return value.Error()
	}
	if mismatch, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		member := "a member"
		if name := mismatch.Field[strings.LastIndexByte(mismatch.Field, '.')+1:]; name != "" { // embedded Go types precede it
			member = strconv.Quote(Printable(name, 100))
		}
		found, _, _ := strings.Cut(mismatch.Value, " ") // "number 1.5" names the number
		return fmt.Sprintf("%s must be %s, not %s", member, jsonTypes[mismatch.Type.Kind()], jsonNames[found])
	}
	return "it is not valid JSON"
}

// jsonTypes names the JSON type of a Go kind, and jsonNames that of json.UnmarshalTypeError.Value, with an article.
var (
	jsonTypes = map[reflect.Kind]string{
		reflect.String: "a string", reflect.Bool: "a boolean", reflect.Int: "a whole number",
		reflect.Slice: "a list", reflect.Struct: "an object",
	}
	jsonNames = map[string]string{"string": "a string", "bool": "a boolean", "number": "a number", "array": "a list", "object": "an object"}
)

// FinalizeCSR returns the DER of the CSR in the payload of a finalize request (RFC 8555 section 7.4).
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
