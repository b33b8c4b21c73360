package acmeserver

import (
	"net/http"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// newAuthz makes an authorization before there is an order for its identifier (RFC 8555 section 7.4.1). Orders find it
// once it is valid.
func (s *Server) newAuthz(r *signed) (*answer, error) {
	if err := r.issuing(); err != nil {
		return nil, err
	}
	if err := r.agreeing(); err != nil {
		return nil, err
	}
	var payload acme.AuthorizationRequest
	if err := r.unmarshal(&payload); err != nil {
		return nil, err
	}
	if payload.Identifier.Identifier == (acme.Identifier{}) {
		return nil, acme.NewProblem(acme.Malformed, "\"identifier\" is missing")
	}
	id, problem := payload.Identifier.Normalize()
	if problem == nil && id.Wildcard() {
		problem = acme.NewProblem(acme.RejectedIdentifier, "%q is a wildcard, which can't be authorized ahead of an order (RFC 8555 section 7.4.1)", id.Value).About(id)
	}
	if problem == nil {
		problem = r.policy().Identifiers([]acme.Identifier{id})
	}
	if problem == nil {
		problem = r.policy().Rules([]acme.Identifier{id}, "", nil)
	}
	if problem != nil {
		return nil, problem.WithStatus(http.StatusForbidden)
	}
	defer s.turns.take(r.issuer.spec.RateLimits.NewOrders, r.account.Namespace, r.account.Name)()
	if err := s.limitOrders(r, false, id); err != nil {
		return nil, err
	}
	if err := s.limitPending(r, 0, 1); err != nil {
		return nil, err
	}
	var authz *v1alpha1.AcmeAuthorization
	if payload.Identifier.SubdomainAuthAllowed {
		authz = r.subdomainAuthorization(id)
	}
	if authz == nil {
		authz = r.newAuthorization(id)
	}
	authz.Spec.PreAuthorization = true
	if err := s.authorizations.Create(r.Context(), authz); err != nil {
		return nil, err
	}
	result := s.authorizationAnswer(r, authz)
	result.status, result.location = http.StatusCreated, r.url(acme.AuthorizationPath(authz.Name))
	return result, nil
}
