package acmeserver

import (
	"context"
	"crypto/rand"
	"net/http"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"golang.org/x/sync/errgroup"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/policy"
)

// orderDocument is RFC 8555 section 7.1.3's.
type orderDocument struct {
	Status         acme.State        `json:"status"`
	Expires        string            `json:"expires,omitempty"`
	Identifiers    []acme.Identifier `json:"identifiers"`
	NotBefore      string            `json:"notBefore,omitempty"`
	NotAfter       string            `json:"notAfter,omitempty"`
	Profile        string            `json:"profile,omitempty"`
	Replaces       string            `json:"replaces,omitempty"`
	Error          *problemDocument  `json:"error,omitempty"`
	Authorizations []string          `json:"authorizations"`
	Finalize       string            `json:"finalize"`
	Certificate    string            `json:"certificate,omitempty"`
}

// newOrder makes an order, and the authorizations that it needs (RFC 8555 section 7.4).
func (s *Server) newOrder(r *signed) (*answer, error) {
	r.span = s.tracer.Begin(r.route, r.begun)
	if err := r.issuing(); err != nil {
		return nil, err
	}
	if err := r.agreeing(); err != nil {
		return nil, err
	}
	var payload acme.OrderRequest
	if err := r.unmarshal(&payload); err != nil {
		return nil, err
	}
	allowed := r.policy()
	profile, problem := allowed.Profile(payload.Profile)
	if problem != nil {
		return nil, problem
	}
	identifiers, problem := normalize(payload.Identifiers, profile)
	if problem != nil {
		return nil, problem
	}
	above, problem := ancestors(payload.Identifiers)
	if problem != nil {
		return nil, problem
	}
	if problem := allowed.Identifiers(identifiers); problem != nil {
		return nil, problem
	}
	if problem := allowed.Rules(identifiers, profile.Name, nil); problem != nil {
		return nil, problem
	}
	if problem := policy.Validity(profile, payload.NotBefore, payload.NotAfter, s.now()); problem != nil {
		return nil, problem
	}
	if err := s.replacing(r, payload.Replaces, identifiers); err != nil {
		return nil, err
	}
	defer s.turns.take(r.issuer.spec.RateLimits.NewOrders, r.account.Namespace, r.account.Name)()
	if err := s.limitOrders(r, payload.Replaces != "", identifiers...); err != nil {
		return nil, err
	}
	if err := s.limitPending(r, 1, len(identifiers)); err != nil {
		return nil, err
	}
	name := newID()
	names, err := s.authorize(r, name, identifiers, above)
	if err != nil {
		return nil, err
	}
	order := &v1alpha1.AcmeOrder{Spec: v1alpha1.AcmeOrderSpec{
		IssuerRef:      v1alpha1.ObjectRef{Name: r.issuer.key.Name},
		AccountRef:     v1alpha1.ObjectRef{Name: r.account.Name},
		NotBefore:      timeOrNil(payload.NotBefore),
		NotAfter:       timeOrNil(payload.NotAfter),
		Profile:        profile.Name,
		Replaces:       payload.Replaces,
		Authorizations: names,
	}}
	for _, id := range identifiers {
		order.Spec.Identifiers = append(order.Spec.Identifiers, v1alpha1.Identifier(id))
	}
	order.Namespace, order.Name = r.issuer.key.Namespace, name
	order.Finalizers = []string{v1alpha1.RevocationFinalizer}
	order.Annotations = r.span.Annotated(nil)
	r.span.Text("acmeca.order", order.Name)
	if err := s.orders.Create(r.Context(), order); err != nil {
		return nil, err
	}
	return s.orderAnswer(r, http.StatusCreated, order)
}

// normalize puts the identifiers of an order into their normal form, each once.
func normalize(asked []acme.OrderIdentifier, profile v1alpha1.Profile) ([]acme.Identifier, *acme.Problem) {
	if len(asked) == 0 {
		return nil, acme.NewProblem(acme.Malformed, "the order has no identifiers")
	}
	if len(asked) > 2*profile.MaxIdentifiers { // before any work is done on them
		return nil, tooMany(profile)
	}
	var identifiers []acme.Identifier
	var refused []acme.Problem
	seen := map[acme.Identifier]bool{}
	for _, id := range asked {
		normal, problem := id.Normalize()
		switch {
		case problem != nil:
			refused = append(refused, *problem)
		case !seen[normal]:
			seen[normal] = true
			identifiers = append(identifiers, normal)
		}
	}
	switch {
	case len(refused) == 1:
		return nil, &refused[0]
	case len(refused) > 1:
		problem := acme.NewProblem(refused[0].Type, "%d of %d identifiers are refused", len(refused), len(asked))
		problem.Subproblems = refused
		return nil, problem
	case len(identifiers) > profile.MaxIdentifiers:
		return nil, tooMany(profile)
	}
	return identifiers, nil
}

func tooMany(profile v1alpha1.Profile) *acme.Problem {
	return acme.NewProblem(acme.Malformed, "an order on profile %q has at most %d identifiers", profile.Name, profile.MaxIdentifiers)
}

// authorize gives the name of an authorization for each identifier: one that the account has and may use again, else one of the
// order's own, which isn't stored before its client chooses a challenge. Names whose client can prove control of a domain
// above share one for that, where the issuer lets them.
func (s *Server) authorize(r *signed, order string, identifiers []acme.Identifier, above map[acme.Identifier]acme.Identifier) ([]string, error) {
	names := make([]string, len(identifiers))
	for i, id := range identifiers {
		var err error
		if names[i], err = s.usableAuthorization(r, id); err != nil {
			return nil, err
		}
	}
	group, ctx := errgroup.WithContext(r.Context())
	group.SetLimit(maxParallelWrites)
	shared := map[acme.Identifier]string{}
	for i, id := range identifiers {
		domain, wanted := above[id]
		if wanted && names[i] == "" {
			names[i] = shared[domain]
		}
		if names[i] != "" {
			continue
		}
		names[i] = v1alpha1.OwnAuthorization(order, i)
		if !wanted {
			continue
		}
		authz := r.subdomainAuthorization(domain)
		if authz == nil {
			continue
		}
		authz.Annotations = r.span.Annotated(authz.Annotations)
		shared[domain], names[i] = authz.Name, authz.Name
		group.Go(func() error { return s.authorizations.Create(ctx, authz) })
	}
	return names, group.Wait()
}

// maxParallelWrites bounds the writes of one request that are under way at once.
const maxParallelWrites = 16

// newID is the name of a new object: 100 random bits, so that it is met twice by nobody and guessed by few.
func newID() string {
	var random [13]byte
	rand.Read(random[:])
	return v1alpha1.EncodeName(random[:])[:20]
}

func timeOrNil(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	return &metav1.Time{Time: t}
}

// order shows an order. It waits a moment for a state that the client waits for.
func (s *Server) order(r *signed) (*answer, error) {
	if err := r.reading(); err != nil {
		return nil, err
	}
	order, err := s.orderOf(r, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if order, err = s.awaitOrder(r, order); err != nil {
		return nil, err
	}
	return s.orderAnswer(r, http.StatusOK, order)
}

// orderOf finds an order of the account.
func (s *Server) orderOf(r *signed, id string) (*v1alpha1.AcmeOrder, error) {
	key, err := keyOf(r.issuer.key.Namespace, id, "order")
	if err != nil {
		return nil, err
	}
	order, err := s.orders.Get(r.Context(), key)
	if err != nil {
		return nil, err
	}
	if err := r.owns(order.Spec.AccountRef, order.Spec.IssuerRef, "order"); err != nil {
		return nil, err
	}
	s.traced(r.call, order)
	return order, nil
}

// awaitOrder waits for an order that the controllers are at work on: one that is being issued, or that can't be any more.
func (s *Server) awaitOrder(r *signed, order *v1alpha1.AcmeOrder) (*v1alpha1.AcmeOrder, error) {
	state, err := s.orderState(r, order)
	if err != nil || finished(order) || state == acme.StatePending || state == acme.StateReady {
		return order, err
	}
	if err := r.issuing(); err != nil && state == acme.StateInvalid {
		return order, nil //nolint:nilerr // it stays invalid, whatever becomes of its issuer
	} else if err != nil {
		return nil, err // else the client would see "processing" for as long as that lasts, and no reason
	}
	ctx, cancel := context.WithTimeout(r.Context(), awaitChange)
	defer cancel()
	return s.orders.Await(ctx, client.ObjectKeyFromObject(order), finished)
}

func finished(order *v1alpha1.AcmeOrder) bool {
	return order.Status.State == acme.StateValid || order.Status.State == acme.StateInvalid
}

// orderAnswer is what a client is shown of an order. One that the controllers haven't finished shows the state that
// follows from what they have decided so far, of which not every step is written down.
func (s *Server) orderAnswer(r *signed, status int, order *v1alpha1.AcmeOrder) (*answer, error) {
	state, err := s.orderState(r, order)
	if err != nil {
		return nil, err
	}
	document := orderDocument{
		Status:   state,
		Expires:  rfc3339(order.ExpiresAt(r.issuer.spec.Lifetimes)),
		Profile:  order.Spec.Profile,
		Replaces: order.Spec.Replaces,
		Error:    documentOf(order.Status.Problem.ACME()),
		Finalize: r.url(acme.FinalizePath(order.Name)),

		Identifiers: order.Names(),
	}
	for i, name := range order.Spec.Authorizations {
		if !slices.Contains(order.Spec.Authorizations[:i], name) { // one for a domain can stand for several names below it
			document.Authorizations = append(document.Authorizations, r.url(acme.AuthorizationPath(name)))
		}
	}
	if order.Spec.NotBefore != nil {
		document.NotBefore = rfc3339(*order.Spec.NotBefore)
	}
	if order.Spec.NotAfter != nil {
		document.NotAfter = rfc3339(*order.Spec.NotAfter)
	}
	if state == acme.StateValid {
		document.Certificate = r.url(acme.CertificatePath(order.Name))
	}
	result := &answer{status: status, body: document, location: r.url(acme.OrderPath(order.Name))}
	if state == acme.StateProcessing {
		result.retryAfter = pollInterval
	}
	return result, nil
}

// orderState is the state of an order for its client.
func (s *Server) orderState(r *signed, order *v1alpha1.AcmeOrder) (acme.State, error) {
	switch {
	case finished(order):
		return order.Status.State, nil
	case order.Spec.CSR != "":
		return acme.StateProcessing, nil
	}
	return s.authorized(r.Context(), order)
}

// orderStateNow is the state that a pending order has come to past the cache. The first authorization that isn't valid ends
// the search, so that a client who is early costs one read.
func (s *Server) orderStateNow(r *signed, order *v1alpha1.AcmeOrder) (acme.State, error) {
	for i, name := range order.Spec.Authorizations {
		authz, found, err := s.authorizationIn(r.Context(), order, i)
		if err == nil && (!found || !s.usable(authz)) {
			authz, err = s.authorizations.getLive(r.Context(), types.NamespacedName{Namespace: order.Namespace, Name: name})
		}
		if isNotFound(err) && order.IsOwnAuthorization(i) {
			return acme.StatePending, nil
		}
		if err != nil || !s.usable(authz) {
			return acme.StatePending, err
		}
	}
	return acme.StateReady, nil
}

// authorized is the state that follows from the authorizations of an order, as the client would be shown them. Where one
// has ended, the order is invalid before the controllers have written that down: it must not be pending after it was ready.
func (s *Server) authorized(ctx context.Context, order *v1alpha1.AcmeOrder) (acme.State, error) {
	state := acme.StateReady
	for i := range order.Spec.Authorizations {
		authz, found, err := s.authorizationIn(ctx, order, i)
		switch {
		case err != nil:
			return acme.StatePending, err
		case !found, pending(authz):
			state = acme.StatePending
		case !s.usable(authz):
			return acme.StateInvalid, nil
		}
	}
	return state, nil
}

func rfc3339(t metav1.Time) string { return t.UTC().Format(time.RFC3339) }
