package acme

import (
	"crypto/sha256"
	"encoding/base64"
)

// ChallengeType names a way to prove control of an identifier (RFC 8555 section 9.7.8).
type ChallengeType string

const (
	// HTTP01 is RFC 8555 section 8.3.
	HTTP01 ChallengeType = "http-01"
	// DNS01 is RFC 8555 section 8.4.
	DNS01 ChallengeType = "dns-01"
	// TLSALPN01 is RFC 8737, for IP addresses RFC 8738 section 6.
	TLSALPN01 ChallengeType = "tls-alpn-01"
)

// Allows reports whether the challenge type can prove control of such an identifier at all, whatever an issuer offers:
// a wildcard takes DNS alone (RFC 8555 section 7.1.3 and 8.3, RFC 8737 section 3), an address anything but DNS
// (RFC 8738 section 7). An unknown challenge or identifier type is never allowed.
func (c ChallengeType) Allows(id Identifier) bool {
	switch c {
	case HTTP01, TLSALPN01:
		return id.Type == IP || id.Type == DNS && !id.Wildcard()
	case DNS01:
		return id.Type == DNS
	}
	return false
}

// KeyAuthorization is the string that a client proves control with (RFC 8555 section 8.1); thumbprint is the
// base64url form of the account key's RFC 7638 digest.
func KeyAuthorization(token, thumbprint string) string { return token + "." + thumbprint }

// DNS01Digest is what the TXT record of a dns-01 challenge has to hold (RFC 8555 section 8.4).
func DNS01Digest(keyAuthorization string) string {
	sum := sha256.Sum256([]byte(keyAuthorization))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
