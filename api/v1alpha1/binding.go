package v1alpha1

import (
	"regexp"
	"strings"
)

// The Secret of an external account key. ExternalAccountBinding describes it.
const (
	// ExternalAccountKeyType is the type of the Secret.
	ExternalAccountKeyType = "acmeca.dev/external-account-key"

	// ExternalAccountKeyField and the names below are the keys in the data of the Secret.
	ExternalAccountKeyField      = "hmac-key"
	ExternalAccountExpiresField  = "expires"
	ExternalAccountReusableField = "reusable"
	ExternalAccountDNSField      = "allowed-dns"
	ExternalAccountIPsField      = "allowed-ips"
	ExternalAccountProfilesField = "allowed-profiles"

	// BoundAccountAnnotation, on the Secret, names the account that a single-use key is bound to.
	BoundAccountAnnotation = "acmeca.dev/bound-account"

	// externalAccountInfix separates issuer and key ID in the name of the Secret.
	externalAccountInfix = "-eab-"
)

// externalAccountKeyID matches key IDs. A key ID is part of the name of a Secret.
var externalAccountKeyID = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$`)

// ExternalAccountKeySecret returns the name of the Secret of an external account key, and whether the ID is valid. An ID that
// contains the infix is invalid: the Secret "a-eab-b-eab-c" belongs to the key "c" of the issuer "a-eab-b", and not to the key
// "b-eab-c" of the issuer "a".
func ExternalAccountKeySecret(issuer, id string) (string, bool) {
	name := issuer + externalAccountInfix + id
	return name, externalAccountKeyID.MatchString(id) && strings.LastIndex(name, externalAccountInfix) == len(issuer)
}

// ExternalAccountKeyOf returns the issuer and key ID of a Secret's name. It is the inverse of ExternalAccountKeySecret.
func ExternalAccountKeyOf(secret string) (issuer, id string, ok bool) {
	i := strings.LastIndex(secret, externalAccountInfix)
	if i < 1 {
		return "", "", false
	}
	issuer, id = secret[:i], secret[i+len(externalAccountInfix):]
	name, ok := ExternalAccountKeySecret(issuer, id)
	return issuer, id, ok && name == secret
}
