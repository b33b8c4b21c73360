package verify

import (
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/issuers"
)

// Coverage returns a problem unless an authorization is for an identifier, or for a parent domain that covers it (RFC 9444). A
// parent domain covers it if the issuer allows that and control was proved in DNS.
func Coverage(issuer *issuers.Issuer, authz *v1alpha1.AcmeAuthorization, identifier acme.Identifier) *acme.Problem {
	switch {
	case authz.Authorized() == identifier:
		return nil
	case !authz.Covers(identifier):
		return acme.NewProblem(acme.Unauthorized, "the authorization is for %q, not for %q", authz.Authorized().Value, identifier.Value)
	case !issuer.Spec.Challenges.Subdomains:
		return acme.NewProblem(acme.Unauthorized, "the authorization is for %q: this issuer does not accept authorizations for parent domains",
			authz.Authorized().Value)
	case authz.Status.State == acme.StateValid && (authz.Status.Challenge == nil || !authz.Status.Challenge.Type.ProvesSubdomains()):
		return acme.NewProblem(acme.Unauthorized, "the authorization is for %q: its challenge does not prove control of names below",
			authz.Authorized().Value)
	}
	return nil
}
