package v1alpha1

import (
	"strconv"
	"strings"
)

// An order names an authorization for each of its identifiers. One that is made for the order itself is called by the
// order's name and the identifier's place, and isn't stored before its client chooses a challenge: until then, all that is
// to be known of it follows from the order.

// OwnAuthorization is the name of the authorization that is made for an order's identifier.
func OwnAuthorization(order string, identifier int) string {
	return order + "-" + strconv.Itoa(identifier)
}

// OwnerOfAuthorization is the order that an authorization of that name would have been made for, and the place of its
// identifier there; ok is false for a name that OwnAuthorization doesn't give.
func OwnerOfAuthorization(name string) (order string, identifier int, ok bool) {
	at := strings.LastIndexByte(name, '-')
	if at < 0 {
		return "", 0, false
	}
	identifier, err := strconv.Atoi(name[at+1:])
	if err != nil || OwnAuthorization(name[:at], identifier) != name {
		return "", 0, false
	}
	return name[:at], identifier, true
}

// IsOwnAuthorization reports whether the authorization for an identifier is made for the order itself, so that it may well
// not be stored yet.
func (o *AcmeOrder) IsOwnAuthorization(identifier int) bool {
	return o.Spec.Authorizations[identifier] == OwnAuthorization(o.Name, identifier)
}

// Awaits reports whether the authorization for an identifier isn't stored because the client has yet to choose a challenge,
// given that it isn't stored.
func (o *AcmeOrder) Awaits(identifier int) bool {
	return o.IsOwnAuthorization(identifier) && o.Spec.CSR == ""
}

// AwaitedAuthorization is the order's own authorization for an identifier, as it follows from the order, without the
// challenges that its issuer offers.
func (o *AcmeOrder) AwaitedAuthorization(identifier int) *AcmeAuthorization {
	id := o.Spec.Identifiers[identifier].ACME()
	authz := &AcmeAuthorization{Spec: AcmeAuthorizationSpec{
		IssuerRef: o.Spec.IssuerRef, AccountRef: o.Spec.AccountRef, Identifier: Identifier(id.Base()), Wildcard: id.Wildcard(),
	}}
	authz.Namespace, authz.Name = o.Namespace, o.Spec.Authorizations[identifier]
	authz.CreationTimestamp = o.CreationTimestamp
	return authz
}
