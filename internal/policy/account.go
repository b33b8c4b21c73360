package policy

import (
	"net/mail"
	"net/netip"
	"strings"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/internal/jws"
)

// Bounds of an account's contacts.
const (
	MaxContacts      = 10
	MaxContactLength = 320
)

// Contacts checks an account's contact URLs: mailto with one address each and nothing else (RFC 8555 section 7.3). The
// problem is unsupportedContact or invalidContact.
func Contacts(contacts []string, required bool) *acme.Problem {
	if required && len(contacts) == 0 {
		return acme.NewProblem(acme.InvalidContact, "this issuer wants a contact, such as \"mailto:admin@example.com\"")
	}
	if len(contacts) > MaxContacts {
		return acme.NewProblem(acme.InvalidContact, "%d contacts are more than the %d allowed", len(contacts), MaxContacts)
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
	if shown != contact && len(contact) <= 100 {
		return acme.NewProblem(acme.InvalidContact, "contact %q has characters other than printable ASCII", shown)
	}
	if len(contact) > MaxContactLength {
		return acme.NewProblem(acme.InvalidContact, "contact %q is longer than %d bytes", shown, MaxContactLength)
	}
	scheme, address, found := strings.Cut(contact, ":")
	if !found {
		return acme.NewProblem(acme.InvalidContact, "contact %q is no URL; write \"mailto:\" before an address", shown)
	}
	if !strings.EqualFold(scheme, "mailto") {
		return acme.NewProblem(acme.UnsupportedContact, "contact %q: only mailto URLs are supported", shown)
	}
	// RFC 8555 section 7.3: no "hfields", and no more than one address.
	if strings.ContainsAny(address, "?,") {
		return acme.NewProblem(acme.InvalidContact, "contact %q has header fields or several addresses; give one address in each URL", shown)
	}
	parsed, err := mail.ParseAddress(address)
	if err != nil || parsed.Address != address || strings.ContainsAny(address, "<>\" ") {
		return acme.NewProblem(acme.InvalidContact, "contact %q is not an e-mail address", shown)
	}
	_, host, _ := strings.Cut(address, "@")
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil || strings.HasPrefix(host, "[") {
		return acme.NewProblem(acme.InvalidContact, "contact %q names an address literal, not a domain", shown)
	}
	return nil
}

// KeyChange verifies the inner request of a key change (RFC 8555 section 7.3.5), whose outer one has been verified with
// the account's key, and gives the new key.
func KeyChange(outer *jws.Message, accountJWK string) (*jws.Key, *acme.Problem) {
	inner, problem := jws.ParseKeyChange(outer.Body)
	if problem != nil {
		return nil, problem
	}
	key := inner.Header.Key
	if inner.Header.URL != outer.Header.URL {
		return nil, acme.NewProblem(acme.Malformed, "the inner request was signed for another URL than the outer one")
	}
	if problem := inner.Verify(key); problem != nil {
		return nil, problem
	}
	var payload acme.KeyChangeRequest
	if problem := acme.Unmarshal(inner.Body, &payload); problem != nil {
		return nil, problem
	}
	if payload.Account != outer.Header.KeyID {
		return nil, acme.NewProblem(acme.Malformed, "the inner request names another account than the one that signed the outer one")
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
		return nil, acme.NewProblem(acme.Malformed, "oldKey is not the account's key")
	}
	if key.Equal(current) {
		return nil, acme.NewProblem(acme.Malformed, "the new key is the account's key already")
	}
	if problem := CheckKey(key.Public(), KeyOptions{}); problem != nil {
		return nil, problem
	}
	return key, nil
}
