package ca

import "github.com/acmeca/acmeca/api/acme"

// Reason is why a certificate was revoked (RFC 5280 section 5.3.1).
type Reason int

// The reasons that a client or a person may give. The others aren't for end-entity certificates of such a CA: cACompromise
// (2) and aACompromise (10) speak of authorities, certificateHold (6) is no revocation, removeFromCRL (8) belongs to delta
// CRLs, and 7 means nothing.
const (
	Unspecified          Reason = 0
	KeyCompromise        Reason = 1
	AffiliationChanged   Reason = 3
	Superseded           Reason = 4
	CessationOfOperation Reason = 5
	PrivilegeWithdrawn   Reason = 9
)

// ParseReason accepts the reason code of a revocation request (RFC 8555 section 7.6), or refuses it with a
// badRevocationReason problem.
func ParseReason(code int) (Reason, *acme.Problem) {
	if problem := acme.CheckRevocationReason(code); problem != nil {
		return 0, problem
	}
	return Reason(code), nil
}

// String is the name in RFC 5280.
func (r Reason) String() string {
	if name, ok := acme.RevocationReasonNames[int(r)]; ok {
		return name
	}
	return "unknown"
}
