package acmeserver

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// authorizationDocument is RFC 8555 section 7.1.4's.
type authorizationDocument struct {
	Identifier acme.Identifier     `json:"identifier"`
	Status     acme.State          `json:"status"`
	Expires    string              `json:"expires,omitempty"`
	Challenges []challengeDocument `json:"challenges"`
	Wildcard   bool                `json:"wildcard,omitempty"`
	// SubdomainAuthAllowed is RFC 9444 section 4.1's.
	SubdomainAuthAllowed bool `json:"subdomainAuthAllowed,omitempty"`
}

// challengeDocument is RFC 8555 section 7.1.5's and 8's.
type challengeDocument struct {
	Type      acme.ChallengeType `json:"type"`
	URL       string             `json:"url"`
	Status    acme.State         `json:"status"`
	Token     string             `json:"token,omitempty"`
	Validated string             `json:"validated,omitempty"`
	Error     *problemDocument   `json:"error,omitempty"`
	// IssuerDomainNames is draft-ietf-acme-dns-persist-02 section 3.1's.
	IssuerDomainNames []string `json:"issuerDomainNames,omitempty"`
}

// newAuthorization is one to be made, with the challenges that the issuer offers.
func (r *signed) newAuthorization(id acme.Identifier) *v1alpha1.AcmeAuthorization {
	authz := &v1alpha1.AcmeAuthorization{Spec: v1alpha1.AcmeAuthorizationSpec{
		IssuerRef:  v1alpha1.ObjectRef{Name: r.issuer.key.Name},
		AccountRef: v1alpha1.ObjectRef{Name: r.account.Name},
		Identifier: v1alpha1.Identifier(id.Base()),
		Wildcard:   id.Wildcard(),
	}}
	for _, t := range r.issuer.policy.Challenges(id) {
		authz.Spec.Challenges = append(authz.Spec.Challenges, newChallenge(t))
	}
	authz.Namespace, authz.Name = r.issuer.key.Namespace, newID()
	return authz
}

// newToken has 256 random bits; 128 are the least (RFC 8555 section 8.3).
func newToken() string {
	var random [32]byte
	rand.Read(random[:])
	return base64.RawURLEncoding.EncodeToString(random[:])
}

// usableAuthorization is the name of an authorization that lets the account certify an identifier now, the one that
// lasts longest; "" where it has to prove control anew.
func (s *Server) usableAuthorization(r *signed, id acme.Identifier) (string, error) {
	var best *v1alpha1.AcmeAuthorization
	for _, of := range r.authorizedBy(id) {
		found, err := s.authorizations.List(r.Context(), authorizationsByName, r.issuer.key.Namespace, accountAndIdentifier(r.account.Name, of))
		if err != nil {
			return "", err
		}
		for _, authz := range found {
			if r.reusable(authz) && s.usable(authz) && authz.Covers(id) && (best == nil || best.Status.Expires.Before(authz.Status.Expires)) {
				best = authz
			}
		}
	}
	if best == nil {
		return "", nil
	}
	return best.Name, nil
}

// reusable reports whether an authorization of the account is for more than one order. One that was made for an order is
// where the issuer wants that.
func (r *signed) reusable(authz *v1alpha1.AcmeAuthorization) bool {
	return (authz.Spec.PreAuthorization || r.issuer.spec.Lifetimes.ReuseAuthorizations) &&
		authz.Spec.IssuerRef.Name == r.issuer.key.Name && authz.Spec.Deactivation == nil
}

// usable reports whether an authorization counts now.
func (s *Server) usable(authz *v1alpha1.AcmeAuthorization) bool {
	return authz.Status.State == acme.StateValid && authz.Status.Expires != nil && s.now().Before(authz.Status.Expires.Time)
}

// authorization shows an authorization, or deactivates it (RFC 8555 section 7.5 and 7.5.2).
func (s *Server) authorization(r *signed) (*answer, error) {
	authz, err := s.authorizationOf(r, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if !r.message.IsPOSTAsGET() {
		return s.deactivateAuthorization(r, authz)
	}
	if responded(authz) && r.issuer.fault == nil {
		ctx, cancel := context.WithTimeout(r.Context(), awaitChange)
		defer cancel()
		if authz, err = s.authorizations.Await(ctx, client.ObjectKeyFromObject(authz), func(a *v1alpha1.AcmeAuthorization) bool { return !responded(a) }); err != nil {
			return nil, err
		}
	}
	return s.authorizationAnswer(r, authz), nil
}

// responded reports whether the client waits for a validation.
func responded(authz *v1alpha1.AcmeAuthorization) bool {
	return authz.Spec.Response != nil && pending(authz)
}

func pending(authz *v1alpha1.AcmeAuthorization) bool {
	return authz.Status.State == acme.StatePending || authz.Status.State == ""
}

// authorizationOf finds an authorization of the account.
func (s *Server) authorizationOf(r *signed, id string) (*v1alpha1.AcmeAuthorization, error) {
	key, err := keyOf(r.issuer.key.Namespace, id, "authorization")
	if err != nil {
		return nil, err
	}
	authz, err := s.authorizations.Get(r.Context(), key)
	if err != nil {
		return nil, err
	}
	if err := r.owns(authz.Spec.AccountRef, authz.Spec.IssuerRef, "authorization"); err != nil {
		return nil, err
	}
	s.traced(r.call, authz)
	return authz, nil
}

func (s *Server) deactivateAuthorization(r *signed, authz *v1alpha1.AcmeAuthorization) (*answer, error) {
	var payload struct {
		Status acme.State `json:"status"`
	}
	if err := r.unmarshal(&payload); err != nil {
		return nil, err
	}
	if payload.Status != acme.StateDeactivated {
		return nil, acme.NewProblem(acme.Malformed, "the status of an authorization can only be changed to \"deactivated\"")
	}
	if authz.Status.State == acme.StateDeactivated {
		return s.authorizationAnswer(r, authz), nil // the answer to an earlier request was lost
	}
	if !pending(authz) && authz.Status.State != acme.StateValid {
		return nil, acme.NewProblem(acme.Malformed, "the authorization is %s already", authz.Status.State)
	}
	key := client.ObjectKeyFromObject(authz)
	patch := specPatch(map[string]any{"deactivation": v1alpha1.Deactivation{Request: v1alpha1.SignedRequestFrom(r.message)}})
	if _, err := s.authorizations.Patch(r.Context(), key, patch); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), awaitVerdict)
	defer cancel()
	authz, err := s.authorizations.Await(ctx, key, func(a *v1alpha1.AcmeAuthorization) bool { return a.Status.State.Final() })
	if err != nil {
		return nil, err
	}
	if !authz.Status.State.Final() {
		return nil, unavailable("the request has not been verified yet; try again")
	}
	return s.authorizationAnswer(r, authz), nil
}

func (s *Server) authorizationAnswer(r *signed, authz *v1alpha1.AcmeAuthorization) *answer {
	document := authorizationDocument{
		Identifier:           authz.Spec.Identifier.ACME(),
		Status:               authz.Status.State,
		Expires:              rfc3339(authz.ExpiresAt(r.issuer.spec.Lifetimes)),
		Wildcard:             authz.Spec.Wildcard,
		SubdomainAuthAllowed: authz.Spec.Subdomains,
	}
	switch {
	case pending(authz):
		document.Status = acme.StatePending
	case authz.Status.State == acme.StateValid && !s.usable(authz):
		document.Status = acme.StateExpired
	}
	for _, c := range authz.Spec.Challenges {
		// Once there is an outcome, the challenge that led to it is the only one (RFC 8555 section 7.1.4).
		if pending(authz) || authz.Spec.Response == nil || authz.Spec.Response.Type == c.Type {
			document.Challenges = append(document.Challenges, r.challengeDocument(authz, c))
		}
	}
	result := ok(document)
	if responded(authz) {
		result.retryAfter = pollInterval
	}
	return result
}

// challengeDocument is what a client is shown of a challenge. "processing" isn't written down by anyone: it follows from
// a response that has no outcome.
func (r *signed) challengeDocument(authz *v1alpha1.AcmeAuthorization, c v1alpha1.Challenge) challengeDocument {
	document := challengeDocument{
		Type: c.Type, URL: r.url(acme.ChallengePath(authz.Name, c.Type)), Status: acme.StatePending, Token: c.Token,
	}
	if c.Type == acme.DNSPersist01 {
		document.IssuerDomainNames = r.issuerDomainNames()
	}
	if authz.Spec.Response == nil || authz.Spec.Response.Type != c.Type {
		return document
	}
	document.Status = acme.StateProcessing
	if tried := authz.Status.Challenge; tried != nil && tried.Type == c.Type {
		document.Status = tried.State
		document.Error = documentOf(tried.Problem.ACME())
		if tried.ValidatedAt != nil {
			document.Validated = rfc3339(*tried.ValidatedAt)
		}
	}
	return document
}

// challenge shows a challenge, or takes the client's word that it can be validated now (RFC 8555 section 7.5.1).
func (s *Server) challenge(r *signed) (*answer, error) {
	id, kind, _ := acme.ChallengeID(r.PathValue("id"))
	authz, err := s.authorizationOf(r, id)
	if err != nil {
		return nil, err
	}
	challenge, found := challengeOf(authz, kind)
	if !found {
		return nil, notFound("challenge")
	}
	// A POST-as-GET only reads; a second response is answered with what became of the first.
	if !r.message.IsPOSTAsGET() && pending(authz) && authz.Spec.Response == nil {
		if authz, err = s.respond(r, authz, kind); err != nil {
			return nil, err
		}
	}
	result := ok(r.challengeDocument(authz, challenge))
	result.links = []link{{r.url(acme.AuthorizationPath(authz.Name)), "up"}}
	// Only where an attempt has failed: a client that asks for the authorization at once waits there, not here.
	if responded(authz) && authz.Status.Challenge != nil {
		result.retryAfter = pollInterval
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

func (s *Server) respond(r *signed, authz *v1alpha1.AcmeAuthorization, kind acme.ChallengeType) (*v1alpha1.AcmeAuthorization, error) {
	if err := r.issuing(); err != nil {
		return nil, err
	}
	var payload struct{}
	if err := r.unmarshal(&payload); err != nil {
		return nil, err
	}
	if !s.now().Before(authz.ExpiresAt(r.issuer.spec.Lifetimes).Time) {
		return nil, acme.NewProblem(acme.Malformed, "the authorization has expired").WithStatus(http.StatusForbidden)
	}
	key := client.ObjectKeyFromObject(authz)
	patched, err := s.authorizations.Patch(r.Context(), key, specPatch(map[string]any{
		"response": v1alpha1.ChallengeResponse{Type: kind, Request: *v1alpha1.SignedRequestFrom(r.message)},
	}))
	if apierrors.IsInvalid(err) {
		if now, err := s.authorizations.getLive(r.Context(), key); err == nil && now.Spec.Response != nil {
			return now, nil // response is set once, and another request was quicker
		}
	}
	return patched, err
}
