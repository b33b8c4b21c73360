package issuers

import (
	"slices"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/validation"
	"github.com/acmeca/acmeca/internal/jws/stored"
)

// ValidationRequest returns the request to validate an authorization by the challenge that its client chose.
func (i *Issuer) ValidationRequest(account *v1alpha1.AcmeAccount, authz *v1alpha1.AcmeAuthorization) validation.Request {
	request := validation.Request{
		Identifier:        authz.Spec.Identifier.ACME(),
		Wildcard:          authz.Spec.Wildcard,
		Thumbprint:        account.Status.Thumbprint,
		FormerThumbprints: account.Status.FormerThumbprints,
	}
	for _, base := range i.Bases {
		request.AccountURIs = append(request.AccountURIs, base.URL(acme.AccountPath(account.Name)))
		request.HashPrefixes = append(request.HashPrefixes, base.URL(acme.AccountHashPath))
	}
	if authz.Spec.Response == nil {
		return request // for no type of challenge, which no check permits
	}
	request.Type = authz.Spec.Response.Type
	// The URL that the client itself uses comes first. That it is one of the account's was verified.
	if message, problem := stored.Parse(&authz.Spec.Response.Request); problem == nil {
		if at := slices.Index(request.AccountURIs, message.Header.KeyID); at > 0 {
			request.AccountURIs = slices.Insert(slices.Delete(request.AccountURIs, at, at+1), 0, message.Header.KeyID)
		}
	}
	request.Token = authz.Token(request.Type)
	return request
}
