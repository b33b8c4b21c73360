package ca

import "github.com/acmeca/acmeca/api/acme"

// Reason is a revocation reason code (RFC 5280 section 5.3.1).
type Reason int

// The reasons that a client or a person may give. CACompromise is for CA certificates alone. The others don't apply to such a CA:
// aACompromise (10) is about attributes, certificateHold (6) is temporary, removeFromCRL (8) is for delta CRLs, and 7 is unused.
const (
	Unspecified          Reason = 0
	KeyCompromise        Reason = 1
	CACompromise         Reason = 2
	AffiliationChanged   Reason = 3
	Superseded           Reason = 4
	CessationOfOperation Reason = 5
	PrivilegeWithdrawn   Reason = 9
)

// ParseReason returns the reason for the code in a revocation request (RFC 8555 section 7.6), or a badRevocationReason problem.
func ParseReason(code int) (Reason, *acme.Problem) {
	if problem := acme.CheckRevocationReason(code); problem != nil {
		return 0, problem
	}
	return Reason(code), nil
}

// String returns the name in RFC 5280.
func (r Reason) String() string {
	if r == CACompromise {
		return "cACompromise"
	}
	if name, ok := acme.RevocationReasonNames[int(r)]; ok {
		return name
	}
	return "unknown"
}
