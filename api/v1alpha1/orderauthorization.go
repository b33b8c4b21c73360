package v1alpha1

import (
	"slices"
	"strconv"
	"strings"
)

// An order names an authorization for each of its identifiers. The order's own authorizations have names made of the order's name and
// the index of the identifier. They are not stored before the client chooses a challenge; until then, everything about them is derived
// from the order. An authorization by a grant is never stored unless the client deactivates it.

// OwnAuthorization returns the name of an order's own authorization for the identifier of an index.
func OwnAuthorization(order string, identifier int) string {
	return order + "-" + strconv.Itoa(identifier)
}

// OwnerOfAuthorization returns the order and identifier index of an own authorization's name. ok is false for all other names.
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

// IsOwnAuthorization reports whether the authorization for the identifier of an index is the order's own, so it may not be stored yet.
func (o *AcmeOrder) IsOwnAuthorization(identifier int) bool {
	return o.Spec.Authorizations[identifier] == OwnAuthorization(o.Name, identifier)
}

// Awaits reports whether an authorization that is not stored is missing because the client has not chosen a challenge yet.
func (o *AcmeOrder) Awaits(identifier int) bool {
	return o.IsOwnAuthorization(identifier) && !o.Finalized() && o.Grant(identifier) == ""
}

// Grant returns the name of the grant that authorizes the identifier of an index, or "" if control of it must be proved.
func (o *AcmeOrder) Grant(identifier int) string {
	if identifier >= len(o.Spec.Grants) {
		return ""
	}
	return o.Spec.Grants[identifier]
}

// GrantedBy reports whether a grant authorizes one of the identifiers.
func (o *AcmeOrder) GrantedBy(grant string) bool {
	return grant != "" && slices.Contains(o.Spec.Grants, grant)
}

// Proofs returns the number of own authorizations that must be proved.
func (o *AcmeOrder) Proofs() int {
	proofs := 0
	for i := range o.Spec.Authorizations {
		if o.IsOwnAuthorization(i) && o.Grant(i) == "" {
			proofs++
		}
	}
	return proofs
}

// AwaitedAuthorization derives an own authorization that is not stored from its order. It has no challenges; the caller adds those of
// the issuer.
func (o *AcmeOrder) AwaitedAuthorization(identifier int) *AcmeAuthorization {
	id := o.Spec.Identifiers[identifier].ACME()
	authz := &AcmeAuthorization{Spec: AcmeAuthorizationSpec{
		IssuerRef: o.Spec.IssuerRef, AccountRef: o.Spec.AccountRef, Identifier: Identifier(id.Base()), Wildcard: id.Wildcard(),
	}}
	authz.Namespace, authz.Name = o.Namespace, o.Spec.Authorizations[identifier]
	authz.CreationTimestamp = o.CreationTimestamp
	return authz
}
