package v1alpha1

import (
	"regexp"
	"strings"
)

// The Secret of an external account key (see ExternalAccountBinding).
const (
	// ExternalAccountKeyType is the Secret's type.
	ExternalAccountKeyType = "acmeca.dev/external-account-key"

	// The fields of the Secret.
	ExternalAccountKeyField      = "hmac-key"
	ExternalAccountExpiresField  = "expires"
	ExternalAccountReusableField = "reusable"
	ExternalAccountDNSField      = "allowed-dns"
	ExternalAccountIPsField      = "allowed-ips"
	ExternalAccountProfilesField = "allowed-profiles"

	// BoundAccountAnnotation names, on the Secret, the account that used up the key.
	BoundAccountAnnotation = "acmeca.dev/bound-account"

	// externalAccountInfix stands between issuer and key id in the Secret's name.
	externalAccountInfix = "-eab-"
)

// externalAccountKeyID is what a key id looks like: it becomes a part of a Secret's name.
var externalAccountKeyID = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$`)

// ExternalAccountKeySecret is the name of the Secret of an external account key. An id with the infix in it is none: the
// Secret "a-eab-b-eab-c" is that of the key "c" of the issuer "a-eab-b", and not also that of the key "b-eab-c" of the
// issuer "a".
func ExternalAccountKeySecret(issuer, id string) (string, bool) {
	name := issuer + externalAccountInfix + id
	return name, externalAccountKeyID.MatchString(id) && strings.LastIndex(name, externalAccountInfix) == len(issuer)
}

// ExternalAccountKeyOf is the inverse of ExternalAccountKeySecret.
func ExternalAccountKeyOf(secret string) (issuer, id string, ok bool) {
	i := strings.LastIndex(secret, externalAccountInfix)
	if i < 1 {
		return "", "", false
	}
	issuer, id = secret[:i], secret[i+len(externalAccountInfix):]
	name, ok := ExternalAccountKeySecret(issuer, id)
	return issuer, id, ok && name == secret
}
