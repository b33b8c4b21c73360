package controllers

import (
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// coverFault says why an authorization isn't for an identifier: it is for another, or for a domain above without counting
// for the names below (RFC 9444), which takes that the issuer lets it and that control was proved in DNS.
func coverFault(issuer *Issuer, authz *v1alpha1.AcmeAuthorization, identifier acme.Identifier) *acme.Problem {
	switch {
	case authz.Authorized() == identifier:
		return nil
	case !authz.Covers(identifier):
		return acme.NewProblem(acme.Unauthorized, "the authorization is for %q, not for %q", authz.Authorized().Value, identifier.Value)
	case !issuer.Spec.Challenges.Subdomains:
		return acme.NewProblem(acme.Unauthorized, "the authorization is for %q, and this issuer has none count for names below", authz.Authorized().Value)
	case authz.Status.State == acme.StateValid && (authz.Status.Challenge == nil || !authz.Status.Challenge.Type.ProvesSubdomains()):
		return acme.NewProblem(acme.Unauthorized, "control of %q was not proved in a way that counts for names below", authz.Authorized().Value)
	}
	return nil
}
