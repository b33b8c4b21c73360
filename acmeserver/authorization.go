package acmeserver

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/acmeserver/answer"
	"github.com/acmeca/acmeca/acmeserver/store"
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws/stored"
	"github.com/acmeca/acmeca/internal/policy"
	"github.com/acmeca/acmeca/internal/tracing"
)

// authorizationDocument is an authorization (RFC 8555 section 7.1.4).
type authorizationDocument struct {
	Identifier acme.Identifier     `json:"identifier"`
	Status     acme.State          `json:"status"`
	Expires    string              `json:"expires,omitempty"`
	Challenges []challengeDocument `json:"challenges"`
	Wildcard   bool                `json:"wildcard,omitempty"`
	// SubdomainAuthAllowed is from RFC 9444 section 4.1.
	SubdomainAuthAllowed bool `json:"subdomainAuthAllowed,omitempty"`
}

// authorization returns an authorization, or deactivates it (RFC 8555 sections 7.5 and 7.5.2).
func (s *Server) authorization(r *request) (*answer.Answer, error) {
	authz, err := s.authorizationOf(r, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if !r.message.IsPOSTAsGET() {
		return s.deactivateAuthorization(r, authz)
	}
	if authz, err = s.awaitValidation(r, authz); err != nil {
		return nil, err
	}
	return s.authorizationAnswer(r, authz), nil
}

// authorizationOf returns an authorization of the account.
func (s *Server) authorizationOf(r *request, id string) (*v1alpha1.AcmeAuthorization, error) {
	key, err := objectKey(r.issuer, id, "authorization")
	if err != nil {
		return nil, err
	}
	authz, found, err := s.store.Authorizations.Find(r.Context(), key)
	if err != nil {
		return nil, err
	}
	if !found {
		if authz, err = s.findVirtual(r, key); err != nil {
			return nil, err
		}
	}
	if err := r.requireOwner(authz.Spec.AccountRef, authz.Spec.IssuerRef, "authorization"); err != nil {
		return nil, err
	}
	s.trace(r.call, authz)
	return authz, nil
}

func (s *Server) authorizationAnswer(r *request, authz *v1alpha1.AcmeAuthorization) *answer.Answer {
	document := authorizationDocument{
		Identifier:           authz.Spec.Identifier.ACME(),
		Status:               authz.Status.State,
		Expires:              rfc3339(authz.ExpiresAt(r.issuer.Spec.Lifetimes)),
		Wildcard:             authz.Spec.Wildcard,
		SubdomainAuthAllowed: authz.Spec.Subdomains,
	}
	switch {
	case isVirtual(authz) && authz.Pending() && !s.now().Before(authz.ExpiresAt(r.issuer.Spec.Lifetimes).Time):
		document.Status = acme.StateInvalid // as the controllers decide for stored ones
	case authz.Pending():
		document.Status = acme.StatePending
	case authz.Status.State == acme.StateValid && !s.isUsable(authz):
		document.Status = acme.StateExpired
	}
	for _, c := range authz.Spec.Challenges {
		// Once there is an outcome, only the challenge that led to it is shown (RFC 8555 section 7.1.4).
		if authz.Pending() || authz.Spec.Response == nil || authz.Spec.Response.Type == c.Type {
			document.Challenges = append(document.Challenges, r.challengeDocument(authz, c))
		}
	}
	return answer.OK(document)
}

// isUsable reports whether an authorization is valid now.
func (s *Server) isUsable(authz *v1alpha1.AcmeAuthorization) bool {
	return authz.Status.State == acme.StateValid && authz.Status.Expires != nil && s.now().Before(authz.Status.Expires.Time)
}

// usableAuthorization returns the name of the authorization that lets the account certify an identifier now, and expires
// last. It returns "" if the account must prove control again.
func (s *Server) usableAuthorization(r *request, id acme.Identifier) (string, error) {
	done, err := s.store.StartList(r.Context())
	if err != nil {
		return "", err
	}
	defer done()
	var best *v1alpha1.AcmeAuthorization
	for _, covering := range r.coveringIdentifiers(id) {
		found, err := s.store.AuthorizationsFor(r.Context(), r.account, covering)
		if err != nil {
			return "", err
		}
		for _, authz := range found {
			if r.isReusable(authz) && s.isUsable(authz) && authz.Covers(id) && (best == nil || best.Status.Expires.Before(authz.Status.Expires)) {
				best = authz
			}
		}
	}
	if best == nil {
		return "", nil
	}
	return best.Name, nil
}

// isReusable reports whether an authorization of the account may serve more than one order: it was created without an
// order, or the issuer reuses authorizations of orders.
func (r *request) isReusable(authz *v1alpha1.AcmeAuthorization) bool {
	return (authz.Spec.PreAuthorization || r.issuer.Spec.Lifetimes.ReuseAuthorizations) &&
		authz.Spec.IssuerRef.Name == r.issuer.Key.Name && authz.Spec.Deactivation == nil
}

// newAuthz creates an authorization before there is an order for its identifier (RFC 8555 section 7.4.1). Orders use it once
// it is valid.
func (s *Server) newAuthz(r *request) (*answer.Answer, error) {
	if err := r.requireIssuer(); err != nil {
		return nil, err
	}
	if err := r.requireRoom(); err != nil {
		return nil, err
	}
	if err := r.requireTerms(); err != nil {
		return nil, err
	}
	var payload acme.AuthorizationRequest
	if err := r.unmarshal(&payload); err != nil {
		return nil, err
	}
	if payload.Identifier.Identifier == (acme.Identifier{}) {
		return nil, acme.NewProblem(acme.Malformed, "\"identifier\" is missing")
	}
	id, problem := r.checkPreAuthorization(payload.Identifier.Identifier)
	if problem != nil {
		return nil, problem.WithStatus(http.StatusForbidden)
	}
	unlock, err := s.lockLimit(r.Context(), r.issuer.Spec.RateLimits.NewOrders, r.account.Namespace, r.account.Name)
	if err != nil {
		return nil, err
	}
	defer unlock()
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
	if err := s.store.Authorizations.Create(r.Context(), authz); err != nil {
		return nil, err
	}
	result := s.authorizationAnswer(r, authz)
	result.Status, result.Location = http.StatusCreated, r.url(acme.AuthorizationPath(authz.Name))
	return result, nil
}

// checkPreAuthorization returns the normal form of an identifier that may be authorized without an order.
func (r *request) checkPreAuthorization(asked acme.Identifier) (acme.Identifier, *acme.Problem) {
	if asked.Wildcard() {
		return asked, acme.NewProblem(acme.RejectedIdentifier,
			"%q is a wildcard, which cannot be authorized without an order (RFC 8555 section 7.4.1)", asked.Value).About(asked)
	}
	return r.policy().AdmitIdentifier(asked)
}

// newAuthorization returns an authorization to be created, with the challenges that the issuer offers.
func (r *request) newAuthorization(id acme.Identifier) *v1alpha1.AcmeAuthorization {
	authz := &v1alpha1.AcmeAuthorization{Spec: v1alpha1.AcmeAuthorizationSpec{
		IssuerRef:  v1alpha1.ObjectRef{Name: r.issuer.Key.Name},
		AccountRef: v1alpha1.ObjectRef{Name: r.account.Name},
		Identifier: v1alpha1.Identifier(id.Base()),
		Wildcard:   id.Wildcard(),
		Challenges: challenges(r.offered(id), newToken()),
	}}
	authz.Namespace, authz.Name = r.issuer.Key.Namespace, newID()
	return authz
}

// offered returns the types of the challenges that the issuer offers for an identifier.
func (r *request) offered(id acme.Identifier) []acme.ChallengeType {
	return policy.Offered(r.issuer.Spec.Challenges.Types, id)
}

// challenges returns challenges of some types. The first one has the token, from which those of the others are derived.
func challenges(types []acme.ChallengeType, token string) []v1alpha1.Challenge {
	var all []v1alpha1.Challenge
	for _, t := range types {
		challenge := v1alpha1.Challenge{Type: t}
		if t.HasToken() {
			challenge.Token, token = token, ""
		}
		all = append(all, challenge)
	}
	return all
}

// tokenSize is the length of a token in bytes: the 128 bits of RFC 8555 section 8.3.
const tokenSize = 16

// newToken returns random bits in base64url.
func newToken() string {
	var random [tokenSize]byte
	rand.Read(random[:])
	return base64.RawURLEncoding.EncodeToString(random[:])
}

// virtualAuthorization derives an authorization that is not stored from its order. An order's own authorization is stored once the client
// chooses a challenge, and removed some time after the order is valid; from then on it is expired. Its first token is a hash of the order's
// UID and name: these have more than 220 random bits, which no client knows before it is shown the order.
func (r *request) virtualAuthorization(order *v1alpha1.AcmeOrder, identifier int) *v1alpha1.AcmeAuthorization {
	authz := order.AwaitedAuthorization(identifier)
	types := r.offered(order.Spec.Identifiers[identifier].ACME())
	if len(types) == 0 && order.Grant(identifier) != "" {
		types = r.issuer.Spec.Challenges.Types // some clients fail on an authorization without challenges
	}
	sum := sha256.Sum256([]byte(string(order.UID) + " " + authz.Name))
	authz.Spec.Challenges = challenges(types, base64.RawURLEncoding.EncodeToString(sum[:tokenSize]))
	if order.Status.State == acme.StateValid && order.Grant(identifier) == "" {
		authz.Status.State, authz.Status.Expires = acme.StateExpired, order.CreationTimestamp.DeepCopy()
	}
	if trace := order.Annotations[tracing.Annotation]; trace != "" {
		authz.Annotations = map[string]string{tracing.Annotation: trace}
	}
	return authz
}

// isVirtual reports whether an authorization is derived from its order, and not stored.
func isVirtual(authz *v1alpha1.AcmeAuthorization) bool { return authz.UID == "" }

// findVirtual returns an authorization that is not in the cache: a virtual one of its order, or one on the API server.
func (s *Server) findVirtual(r *request, key types.NamespacedName) (*v1alpha1.AcmeAuthorization, error) {
	name, identifier, ok := v1alpha1.OwnerOfAuthorization(key.Name)
	if !ok {
		return s.store.Authorizations.GetLive(r.Context(), key)
	}
	order, err := s.store.Orders.Get(r.Context(), types.NamespacedName{Namespace: key.Namespace, Name: name})
	if errors.Is(err, store.ErrNotFound) {
		return nil, store.NotFound("authorization")
	}
	if err != nil {
		return nil, err
	}
	if identifier >= len(order.Spec.Authorizations) || !order.IsOwnAuthorization(identifier) {
		return nil, store.NotFound("authorization")
	}
	authz := r.virtualAuthorization(order, identifier)
	if order.Grant(identifier) == "" {
		return authz, nil
	}
	return authz, s.applyGrant(r.Context(), order, identifier, authz)
}

// storeVirtual creates a virtual authorization, with the client's request in it. If a concurrent request was faster, it
// returns the authorization that this one created.
func (s *Server) storeVirtual(ctx context.Context, authz *v1alpha1.AcmeAuthorization) (*v1alpha1.AcmeAuthorization, error) {
	err := s.store.Authorizations.Create(ctx, authz)
	if errors.Is(err, store.ErrExists) {
		return s.store.Authorizations.GetLive(ctx, client.ObjectKeyFromObject(authz))
	}
	return authz, err
}

func (s *Server) deactivateAuthorization(r *request, authz *v1alpha1.AcmeAuthorization) (*answer.Answer, error) {
	if problem := policy.AdmitDeactivation(r.message); problem != nil {
		return nil, problem
	}
	if authz.Status.State == acme.StateDeactivated {
		return s.authorizationAnswer(r, authz), nil // the answer to an earlier request was lost
	}
	if !authz.Pending() && authz.Status.State != acme.StateValid {
		return nil, acme.NewProblem(acme.Malformed, "the authorization is %s already", authz.Status.State)
	}
	if err := s.storeDeactivation(r, authz); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), verdictTimeout)
	defer cancel()
	authz, err := s.store.Authorizations.Await(ctx, client.ObjectKeyFromObject(authz), (*v1alpha1.AcmeAuthorization).Finished)
	if err != nil {
		return nil, err
	}
	if !authz.Finished() {
		return nil, errNotVerifiedYet()
	}
	return s.authorizationAnswer(r, authz), nil
}

func (s *Server) storeDeactivation(r *request, authz *v1alpha1.AcmeAuthorization) error {
	deactivation := &v1alpha1.Deactivation{Request: stored.Request(r.message)}
	if isVirtual(authz) {
		authz.Spec.Deactivation = deactivation
		stored, err := s.storeVirtual(r.Context(), authz)
		if err != nil || stored.Spec.Deactivation != nil {
			return err
		}
	}
	patch := specPatch(map[string]any{"deactivation": deactivation})
	_, err := s.store.Authorizations.Patch(r.Context(), client.ObjectKeyFromObject(authz), patch)
	return err
}

// coveringIdentifiers returns the identifiers whose authorization may let an account certify an identifier: the identifier
// itself, and the domains above it if the issuer authorizes subdomains (RFC 9444).
func (r *request) coveringIdentifiers(id acme.Identifier) []acme.Identifier {
	all := []acme.Identifier{id}
	if !r.issuer.Spec.Challenges.Subdomains || id.Type != acme.DNS {
		return all
	}
	for name := id.Value; ; {
		_, above, found := strings.Cut(name, ".")
		if !found {
			return all
		}
		name = above
		all = append(all, acme.Identifier{Type: acme.DNS, Value: above})
	}
}

// subdomainAuthorization returns an authorization, to be created, of a domain and all names below it. It returns nil if the
// issuer does not authorize that domain so.
func (r *request) subdomainAuthorization(domain acme.Identifier) *v1alpha1.AcmeAuthorization {
	if !r.issuer.Spec.Challenges.Subdomains || domain.Type != acme.DNS || domain.Wildcard() {
		return nil
	}
	if _, problem := r.policy().AdmitIdentifier(domain); problem != nil {
		return nil
	}
	types := slices.DeleteFunc(slices.Clone(r.offered(domain)), func(t acme.ChallengeType) bool { return !t.ProvesSubdomains() })
	if len(types) == 0 {
		return nil
	}
	authz := r.newAuthorization(domain)
	authz.Spec.Subdomains, authz.Spec.Challenges = true, challenges(types, newToken())
	return authz
}

// ancestors returns the domains that a client offers to prove control of, by the identifier that it orders.
func ancestors(asked []acme.OrderIdentifier) (map[acme.Identifier]acme.Identifier, *acme.Problem) {
	found := map[acme.Identifier]acme.Identifier{}
	for _, a := range asked {
		if a.AncestorDomain == "" {
			continue
		}
		id, problem := a.Normalize()
		if problem != nil {
			return nil, problem
		}
		domain, problem := acme.Identifier{Type: acme.DNS, Value: a.AncestorDomain}.Normalize()
		if problem != nil {
			return nil, problem
		}
		if id.Type != acme.DNS || !strings.HasSuffix(id.Value, "."+domain.Value) {
			return nil, acme.NewProblem(acme.Malformed, "%q is not a domain above %q", domain.Value, id.Value).About(id)
		}
		found[id] = domain
	}
	return found, nil
}
