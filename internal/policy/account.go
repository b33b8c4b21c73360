package policy

import (
	"net/mail"
	"net/netip"
	"strings"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/internal/jws"
)

// Limits of an account's contacts: their number, and the length of each in bytes.
const (
	MaxContacts      = 10
	MaxContactLength = 320
)

// Contacts checks an account's contact URLs. Each must be a mailto URL with exactly one address and no header fields (RFC 8555
// section 7.3). Blanks around the address are ignored. The problem is unsupportedContact or invalidContact.
func Contacts(contacts []string, required bool) *acme.Problem {
	if required && len(contacts) == 0 {
		return acme.NewProblem(acme.InvalidContact, "this issuer requires a contact, such as \"mailto:admin@example.com\"")
	}
	if len(contacts) > MaxContacts {
		return acme.NewProblem(acme.InvalidContact, "%d contacts exceed the limit of %d", len(contacts), MaxContacts)
	}
	for _, contact := range contacts {
		if problem := contactFault(contact); problem != nil {
			return problem
		}
	}
	return nil
}

func contactFault(contact string) *acme.Problem {
	shown := acme.Printable(contact, 100)
	if len(contact) > MaxContactLength {
		return acme.NewProblem(acme.InvalidContact, "contact %q is longer than %d bytes", shown, MaxContactLength)
	}
	if acme.Printable(contact, MaxContactLength) != contact {
		return acme.NewProblem(acme.InvalidContact, "contact %q has characters other than printable ASCII", shown)
	}
	scheme, address, found := strings.Cut(contact, ":")
	if !found {
		return acme.NewProblem(acme.InvalidContact, "contact %q is not a URL; write \"mailto:\" before an address", shown)
	}
	if !strings.EqualFold(scheme, "mailto") {
		return acme.NewProblem(acme.UnsupportedContact, "contact %q: only mailto URLs are supported", shown)
	}
	address = strings.Trim(address, " ") // getssl writes a blank after the colon
	// RFC 8555 section 7.3: no "hfields", and at most one address.
	if strings.ContainsAny(address, "?,") {
		return acme.NewProblem(acme.InvalidContact, "contact %q has header fields or several addresses; use one URL for each address", shown)
	}
	parsed, err := mail.ParseAddress(address)
	if err != nil || parsed.Address != address || strings.ContainsAny(address, "<>\" ") {
		return acme.NewProblem(acme.InvalidContact, "contact %q is not an e-mail address", shown)
	}
	_, host, _ := strings.Cut(address, "@")
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil || strings.HasPrefix(host, "[") {
		return acme.NewProblem(acme.InvalidContact, "contact %q has an IP address instead of a domain", shown)
	}
	return nil
}

// KeyChange verifies the inner request of a key change (RFC 8555 section 7.3.5) and returns the new key. The caller has verified the
// outer request with the account's key.
func KeyChange(outer *jws.Message, accountJWK string) (*jws.Key, *acme.Problem) {
	inner, problem := jws.ParseKeyChange(outer.Body)
	if problem != nil {
		return nil, problem
	}
	key := inner.Header.Key
	if inner.Header.URL != outer.Header.URL {
		return nil, acme.NewProblem(acme.Malformed, "the URLs of the inner and the outer request differ")
	}
	if problem := inner.Verify(key); problem != nil {
		return nil, problem
	}
	var payload acme.KeyChangeRequest
	if problem := acme.Unmarshal(inner.Body, &payload); problem != nil {
		return nil, problem
	}
	if payload.Account != outer.Header.KeyID {
		return nil, acme.NewProblem(acme.Malformed, "the \"account\" of the inner request is not the account that signed the outer request")
	}
	current, problem := jws.ParseKey([]byte(accountJWK))
	if problem != nil {
		return nil, problem
	}
	old, problem := jws.ParseKey(payload.OldKey)
	if problem != nil {
		return nil, problem
	}
	if !old.Equal(current) {
		return nil, acme.NewProblem(acme.Malformed, "\"oldKey\" is not the current key of the account")
	}
	if key.Equal(current) {
		return nil, acme.NewProblem(acme.Malformed, "the new key is already the key of the account")
	}
	if problem := CheckKey(key.Public(), KeyOptions{}); problem != nil {
		return nil, problem
	}
	return key, nil
}
