package acmeserver

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws/stored"
	"github.com/acmeca/acmeca/internal/policy"
	"github.com/acmeca/acmeca/internal/tracing"
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
		Challenges: r.offered(id, newToken),
	}}
	authz.Namespace, authz.Name = r.issuer.key.Namespace, newID()
	return authz
}

// offered are the challenges that the issuer offers for an identifier; token gives one to each that has one.
func (r *signed) offered(id acme.Identifier, token func(acme.ChallengeType) string) []v1alpha1.Challenge {
	var all []v1alpha1.Challenge
	for _, t := range policy.Offered(r.issuer.spec.Challenges.Types, id) {
		challenge := v1alpha1.Challenge{Type: t}
		if t.HasToken() {
			challenge.Token = token(t)
		}
		all = append(all, challenge)
	}
	return all
}

// newToken has 256 random bits; 128 are the least (RFC 8555 section 8.3).
func newToken(acme.ChallengeType) string {
	var random [32]byte
	rand.Read(random[:])
	return base64.RawURLEncoding.EncodeToString(random[:])
}

// awaitedAuthorization is an order's own for one of its identifiers, before its client has chosen a challenge: it isn't stored
// until then, since all of it follows from the order. The tokens do from its UID and its name, whose more than 220 random
// bits no client can know of an order that it hasn't been shown.
func (r *signed) awaitedAuthorization(order *v1alpha1.AcmeOrder, identifier int) *v1alpha1.AcmeAuthorization {
	authz := order.AwaitedAuthorization(identifier)
	authz.Spec.Challenges = r.offered(order.Spec.Identifiers[identifier].ACME(), func(t acme.ChallengeType) string {
		sum := sha256.Sum256([]byte(string(order.UID) + " " + authz.Name + " " + string(t)))
		return base64.RawURLEncoding.EncodeToString(sum[:])
	})
	if trace := order.Annotations[tracing.Annotation]; trace != "" {
		authz.Annotations = map[string]string{tracing.Annotation: trace}
	}
	return authz
}

// awaited reports whether an authorization is one that isn't stored yet.
func awaited(authz *v1alpha1.AcmeAuthorization) bool { return authz.UID == "" }

// authorizationIn looks for the authorization of an order's identifier. One that is the order's own isn't there while it is
// awaited.
func (s *Server) authorizationIn(ctx context.Context, order *v1alpha1.AcmeOrder, identifier int) (authz *v1alpha1.AcmeAuthorization, found bool, err error) {
	key := types.NamespacedName{Namespace: order.Namespace, Name: order.Spec.Authorizations[identifier]}
	if order.IsOwnAuthorization(identifier) {
		return s.authorizations.Find(ctx, key)
	}
	authz, err = s.authorizations.Get(ctx, key)
	return authz, err == nil, err
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
	if authz, err = s.awaitOutcome(r, authz); err != nil {
		return nil, err
	}
	return s.authorizationAnswer(r, authz), nil
}

// awaitOutcome waits for a moment for what comes of a challenge that the client has chosen.
func (s *Server) awaitOutcome(r *signed, authz *v1alpha1.AcmeAuthorization) (*v1alpha1.AcmeAuthorization, error) {
	if !responded(authz) || r.issuer.fault != nil {
		return authz, nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), awaitChange)
	defer cancel()
	return s.authorizations.Await(ctx, client.ObjectKeyFromObject(authz), func(a *v1alpha1.AcmeAuthorization) bool { return !responded(a) })
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
	authz, found, err := s.authorizations.Find(r.Context(), key)
	if err != nil {
		return nil, err
	}
	if !found {
		if authz, err = s.ofOrder(r, key); err != nil {
			return nil, err
		}
	}
	if err := r.owns(authz.Spec.AccountRef, authz.Spec.IssuerRef, "authorization"); err != nil {
		return nil, err
	}
	s.traced(r.call, authz)
	return authz, nil
}

// ofOrder gives an authorization that isn't stored, as the order that it belongs to has it.
func (s *Server) ofOrder(r *signed, key types.NamespacedName) (*v1alpha1.AcmeAuthorization, error) {
	name, identifier, ok := v1alpha1.OwnerOfAuthorization(key.Name)
	if !ok {
		return s.authorizations.getLive(r.Context(), key)
	}
	order, err := s.orders.Get(r.Context(), types.NamespacedName{Namespace: key.Namespace, Name: name})
	if isNotFound(err) || err == nil && (identifier >= len(order.Spec.Authorizations) || !order.IsOwnAuthorization(identifier)) {
		return nil, notFound("authorization")
	}
	if err != nil {
		return nil, err
	}
	return r.awaitedAuthorization(order, identifier), nil
}

// storeAwaited makes an authorization that was awaited, now that its client has said something about it. Where another
// request was quicker, it gives what that one made.
func (s *Server) storeAwaited(ctx context.Context, authz *v1alpha1.AcmeAuthorization) (*v1alpha1.AcmeAuthorization, error) {
	err := s.authorizations.Create(ctx, authz)
	if apierrors.IsAlreadyExists(err) {
		return s.authorizations.getLive(ctx, client.ObjectKeyFromObject(authz))
	}
	return authz, err
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
	deactivation := &v1alpha1.Deactivation{Request: stored.Request(r.message)}
	said := false
	var err error
	if awaited(authz) {
		authz.Spec.Deactivation = deactivation
		if authz, err = s.storeAwaited(r.Context(), authz); err != nil {
			return nil, err
		}
		said = authz.Spec.Deactivation != nil
	}
	if !said {
		if _, err := s.authorizations.Patch(r.Context(), key, specPatch(map[string]any{"deactivation": deactivation})); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), awaitVerdict)
	defer cancel()
	authz, err = s.authorizations.Await(ctx, key, func(a *v1alpha1.AcmeAuthorization) bool { return a.Status.State.Final() })
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
	case awaited(authz) && !s.now().Before(authz.ExpiresAt(r.issuer.spec.Lifetimes).Time):
		document.Status = acme.StateInvalid // as the controllers find for those that they see
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
		if s.isWholeOrder(r.Context(), authz) {
			if outcome, err := s.awaitOutcome(r, authz); err == nil { // otherwise the choice is stored all the same
				authz = outcome
			}
		}
	}
	result := ok(r.challengeDocument(authz, challenge))
	result.links = []link{{r.url(acme.AuthorizationPath(authz.Name)), "up"}}
	// Only where an attempt has failed: otherwise a client that asks for the authorization at once waits there for the outcome.
	if responded(authz) && authz.Status.Challenge != nil {
		result.retryAfter = pollInterval
	}
	return result, nil
}

// isWholeOrder reports whether an authorization is all that its order needs. Clients of other orders choose a challenge for each
// of their names before they look for what came of one: to wait there would have names validated one after the other.
func (s *Server) isWholeOrder(ctx context.Context, authz *v1alpha1.AcmeAuthorization) bool {
	name, _, ok := v1alpha1.OwnerOfAuthorization(authz.Name)
	if !ok {
		return false
	}
	order, err := s.orders.getCached(ctx, types.NamespacedName{Namespace: authz.Namespace, Name: name})
	return err == nil && len(order.Spec.Identifiers) == 1
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
	response := &v1alpha1.ChallengeResponse{Type: kind, Request: *stored.Request(r.message)}
	if awaited(authz) {
		authz.Spec.Response = response
		return s.storeAwaited(r.Context(), authz)
	}
	key := client.ObjectKeyFromObject(authz)
	patched, err := s.authorizations.Patch(r.Context(), key, specPatch(map[string]any{"response": response}))
	if apierrors.IsInvalid(err) {
		if now, err := s.authorizations.getLive(r.Context(), key); err == nil && now.Spec.Response != nil {
			return now, nil // response is set once, and another request was quicker
		}
	}
	return patched, err
}
