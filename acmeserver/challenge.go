package acmeserver

import (
	"context"
	"errors"
	"net/http"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/acmeserver/answer"
	"github.com/acmeca/acmeca/acmeserver/store"
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws/stored"
	"github.com/acmeca/acmeca/internal/policy"
)

// challengeDocument is a challenge (RFC 8555 sections 7.1.5 and 8).
type challengeDocument struct {
	Type      acme.ChallengeType      `json:"type"`
	URL       string                  `json:"url"`
	Status    acme.State              `json:"status"`
	Token     string                  `json:"token,omitempty"`
	Validated string                  `json:"validated,omitempty"`
	Error     *answer.ProblemDocument `json:"error,omitempty"`
	// IssuerDomainNames is from draft-ietf-acme-dns-persist-02 section 3.1.
	IssuerDomainNames []string `json:"issuerDomainNames,omitempty"`
}

// challengeDocument returns the document of a challenge. The state "processing" is not stored: it means that the client has
// responded, and there is no outcome.
func (r *request) challengeDocument(authz *v1alpha1.AcmeAuthorization, c v1alpha1.Challenge) challengeDocument {
	document := challengeDocument{
		Type: c.Type, URL: r.url(acme.ChallengePath(authz.Name, c.Type)), Status: acme.StatePending, Token: authz.Token(c.Type),
	}
	if c.Type == acme.DNSPersist01 {
		document.IssuerDomainNames = r.issuer.DomainNames()
	}
	if isGranted(authz) {
		document.Status, document.Validated = acme.StateValid, rfc3339(authz.CreationTimestamp)
	}
	if authz.Spec.Response == nil || authz.Spec.Response.Type != c.Type {
		return document
	}
	document.Status = acme.StateProcessing
	if tried := authz.Status.Challenge; tried != nil && tried.Type == c.Type {
		document.Status = tried.State
		document.Error = answer.DocumentOf(tried.Problem.ACME())
		if tried.ValidatedAt != nil {
			document.Validated = rfc3339(*tried.ValidatedAt)
		}
	}
	return document
}

// challenge returns a challenge, or stores the client's response that it can be validated now (RFC 8555 section 7.5.1). A
// second response has no effect.
func (s *Server) challenge(r *request) (*answer.Answer, error) {
	id, kind, _ := acme.ChallengeID(r.PathValue("id"))
	authz, err := s.authorizationOf(r, id)
	if err != nil {
		return nil, err
	}
	challenge, found := challengeOf(authz, kind)
	if !found {
		return nil, store.NotFound("challenge")
	}
	if !r.message.IsPOSTAsGET() && authz.Pending() && authz.Spec.Response == nil {
		if authz, err = s.respond(r, authz, kind); err != nil {
			return nil, err
		}
		if s.isOnlyAuthorization(r.Context(), authz) {
			if outcome, err := s.awaitValidation(r, authz); err == nil { // otherwise the response is stored all the same
				authz = outcome
			}
		}
	}
	result := answer.OK(r.challengeDocument(authz, challenge))
	result.Links = []answer.Link{{URL: r.url(acme.AuthorizationPath(authz.Name)), Rel: "up"}}
	// No Retry-After before the first attempt has failed: a client that asks for the authorization at once waits there.
	if isValidating(authz) && authz.Status.Challenge != nil {
		result.RetryAfter = answer.RetryChallenge
	}
	return result, nil
}

func challengeOf(authz *v1alpha1.AcmeAuthorization, kind acme.ChallengeType) (v1alpha1.Challenge, bool) {
	for _, c := range authz.Spec.Challenges {
		if c.Type == kind {
			return c, true
		}
	}
	return v1alpha1.Challenge{}, false
}

// respond stores the client's response to a challenge.
func (s *Server) respond(r *request, authz *v1alpha1.AcmeAuthorization, kind acme.ChallengeType) (*v1alpha1.AcmeAuthorization, error) {
	if err := r.requireIssuer(); err != nil {
		return nil, err
	}
	if err := r.requireReserve(); err != nil {
		return nil, err
	}
	if err := s.limitPendingRequest(r); err != nil {
		return nil, err
	}
	if problem := policy.AdmitResponse(r.message); problem != nil {
		return nil, problem
	}
	if !s.now().Before(authz.ExpiresAt(r.issuer.Spec.Lifetimes).Time) {
		return nil, acme.NewProblem(acme.Malformed, "the authorization has expired").WithStatus(http.StatusForbidden)
	}
	response := &v1alpha1.ChallengeResponse{Type: kind, Request: *stored.Request(r.message)}
	if isVirtual(authz) {
		authz.Spec.Response = response
		return s.storeVirtual(r.Context(), authz)
	}
	key := client.ObjectKeyFromObject(authz)
	patched, err := s.store.Authorizations.Patch(r.Context(), key, specPatch(map[string]any{"response": response}))
	if errors.Is(err, store.ErrConflict) {
		if now, err := s.store.Authorizations.GetLive(r.Context(), key); err == nil && now.Spec.Response != nil {
			return now, nil // response is set once, and a concurrent request was faster
		}
	}
	return patched, err
}

// awaitValidation waits briefly for the outcome of a challenge that the client has responded to.
func (s *Server) awaitValidation(r *request, authz *v1alpha1.AcmeAuthorization) (*v1alpha1.AcmeAuthorization, error) {
	if !isValidating(authz) || r.issuer.Fault != nil {
		return authz, nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), changeTimeout)
	defer cancel()
	hasOutcome := func(a *v1alpha1.AcmeAuthorization) bool { return !isValidating(a) }
	return s.store.Authorizations.Await(ctx, client.ObjectKeyFromObject(authz), hasOutcome)
}

// isValidating reports whether the client has responded to a challenge, and there is no outcome.
func isValidating(authz *v1alpha1.AcmeAuthorization) bool {
	return authz.Spec.Response != nil && authz.Pending()
}

// isOnlyAuthorization reports whether an authorization is its order's only one. Clients of other orders respond to a
// challenge of each name before they ask for an outcome: waiting for it would validate their names one by one.
func (s *Server) isOnlyAuthorization(ctx context.Context, authz *v1alpha1.AcmeAuthorization) bool {
	name, _, ok := v1alpha1.OwnerOfAuthorization(authz.Name)
	if !ok {
		return false
	}
	order, err := s.store.Orders.GetCached(ctx, types.NamespacedName{Namespace: authz.Namespace, Name: name})
	return err == nil && len(order.Spec.Identifiers) == 1
}
