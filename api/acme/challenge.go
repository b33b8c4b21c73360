package acme

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"strings"
)

// ChallengeType is a way to prove control of an identifier (RFC 8555 section 9.7.8).
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

// Allows reports whether the challenge type can prove control of an identifier. A wildcard needs a DNS challenge (RFC 8555 sections
// 7.1.3 and 8.3, RFC 8737 section 3). An address needs any other challenge (RFC 8738 section 7). Unknown challenge and identifier
// types are never allowed.
func (c ChallengeType) Allows(id Identifier) bool {
	switch c {
	case HTTP01, TLSALPN01:
		return id.Type == IP || id.Type == DNS && !id.Wildcard()
	case DNS01, DNSAccount01, DNSPersist01:
		return id.Type == DNS
	}
	return false
}

// ProvesSubdomains reports whether a proof for a domain can count for all names below it (RFC 9444). A client that can write to
// the zone of the domain can prove each of them. A dns-persist-01 record states its own scope.
func (c ChallengeType) ProvesSubdomains() bool { return c == DNS01 || c == DNSAccount01 }

// HasToken reports whether challenges of the type have a token. A dns-persist-01 record names the account instead, and outlives the
// challenge.
func (c ChallengeType) HasToken() bool { return c != DNSPersist01 }

// KeyAuthorization returns the key authorization of a challenge (RFC 8555 section 8.1). thumbprint is the RFC 7638 thumbprint of the
// account key, base64url.
func KeyAuthorization(token, thumbprint string) string { return token + "." + thumbprint }

// DNS01Digest returns the value of the TXT record for a dns-01 challenge (RFC 8555 section 8.4).
func DNS01Digest(keyAuthorization string) string {
	sum := sha256.Sum256([]byte(keyAuthorization))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// AccountLabel returns the first label of the TXT record for a dns-account-01 challenge, derived from the account's URL
// (draft-ietf-acme-dns-account-label-03 section 3.2).
func AccountLabel(accountURL string) string {
	sum := sha256.Sum256([]byte(accountURL))
	return "_" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:10]))
}

// AnyDomain replaces the domain in a HashedAccountURI that is valid for every domain.
const AnyDomain = "*"

// HashedAccountURI returns the accounturi of a dns-persist-01 record (draft-ietf-acme-dns-persist-02 section 4.1). prefix is the
// prefix in the directory, domain the domain of the record or AnyDomain, and thumbprint the RFC 7638 thumbprint of the account key,
// base64url.
func HashedAccountURI(prefix, domain, thumbprint, accountURL string) string {
	// The length is one octet, because no domain has more than 255.
	sum := sha256.Sum256([]byte(string([]byte{byte(len(domain))}) + domain + thumbprint + accountURL))
	return prefix + HashedAccountURIAlgorithm + "/" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// HashedAccountURIAlgorithm is the name of the hash in a HashedAccountURI (RFC 6920 section 9.4).
const HashedAccountURIAlgorithm = "sha-256"
