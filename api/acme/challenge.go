package acme

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"strings"
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
	// DNSAccount01 is draft-ietf-acme-dns-account-label-03.
	DNSAccount01 ChallengeType = "dns-account-01"
	// DNSPersist01 is draft-ietf-acme-dns-persist-02.
	DNSPersist01 ChallengeType = "dns-persist-01"
)

// Allows reports whether the challenge type can prove control of such an identifier at all, whatever an issuer offers:
// a wildcard takes DNS alone (RFC 8555 section 7.1.3 and 8.3, RFC 8737 section 3), an address anything but DNS
// (RFC 8738 section 7). An unknown challenge or identifier type is never allowed.
func (c ChallengeType) Allows(id Identifier) bool {
	switch c {
	case HTTP01, TLSALPN01:
		return id.Type == IP || id.Type == DNS && !id.Wildcard()
	case DNS01, DNSAccount01, DNSPersist01:
		return id.Type == DNS
	}
	return false
}

// ProvesSubdomains reports whether a challenge that proves control of a domain can count for all names below it too
// (RFC 9444): who may write into a domain's zone could prove each of them. A dns-persist-01 record says itself what it is for.
func (c ChallengeType) ProvesSubdomains() bool { return c == DNS01 || c == DNSAccount01 }

// HasToken reports whether a challenge of the type has a token. dns-persist-01 is proved by a record that names the
// account, and outlasts the challenge.
func (c ChallengeType) HasToken() bool { return c != DNSPersist01 }

// KeyAuthorization is the string that a client proves control with (RFC 8555 section 8.1); thumbprint is the
// base64url form of the account key's RFC 7638 digest.
func KeyAuthorization(token, thumbprint string) string { return token + "." + thumbprint }

// DNS01Digest is what the TXT record of a dns-01 challenge has to hold (RFC 8555 section 8.4).
func DNS01Digest(keyAuthorization string) string {
	sum := sha256.Sum256([]byte(keyAuthorization))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// AccountLabel is the label below which a dns-account-01 challenge has its TXT record, made of the account's URL
// (draft-ietf-acme-dns-account-label-03 section 3.2).
func AccountLabel(accountURL string) string {
	sum := sha256.Sum256([]byte(accountURL))
	return "_" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:10]))
}

// AnyDomain stands for the domain in a HashedAccountURI that is good for every domain.
const AnyDomain = "*"

// HashedAccountURI is the accounturi that a dns-persist-01 record has (draft-ietf-acme-dns-persist-02 section 4.1), of
// the prefix that the directory gives, the domain that the record is at or AnyDomain, the base64url form of the RFC 7638
// digest of the account's key, and the account's URL.
func HashedAccountURI(prefix, domain, thumbprint, accountURL string) string {
	// The length is a single octet: no domain has more than 255.
	sum := sha256.Sum256([]byte(string([]byte{byte(len(domain))}) + domain + thumbprint + accountURL))
	return prefix + HashedAccountURIAlgorithm + "/" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// HashedAccountURIAlgorithm is the hash that a HashedAccountURI names (RFC 6920 section 9.4).
const HashedAccountURIAlgorithm = "sha-256"
