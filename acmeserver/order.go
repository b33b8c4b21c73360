package acmeserver

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/acmeserver/answer"
	"github.com/acmeca/acmeca/acmeserver/renewal"
	"github.com/acmeca/acmeca/acmeserver/store"
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/policy"
)

// orderDocument is an order (RFC 8555 section 7.1.3).
type orderDocument struct {
	Status         acme.State              `json:"status"`
	Expires        string                  `json:"expires,omitempty"`
	Identifiers    []acme.Identifier       `json:"identifiers"`
	NotBefore      string                  `json:"notBefore,omitempty"`
	NotAfter       string                  `json:"notAfter,omitempty"`
	Profile        string                  `json:"profile,omitempty"`
	Replaces       string                  `json:"replaces,omitempty"`
	Error          *answer.ProblemDocument `json:"error,omitempty"`
	Authorizations []string                `json:"authorizations"`
	Finalize       string                  `json:"finalize"`
	Certificate    string                  `json:"certificate,omitempty"`
}

// orderRequest is a new order whose fields have been checked.
type orderRequest struct {
	profile     v1alpha1.Profile
	identifiers []acme.Identifier
	// granted names the grant of each identifier, or is empty.
	granted []string
	// ancestors are the domains that the client offers to prove control of instead (RFC 9444), by identifier.
	ancestors           map[acme.Identifier]acme.Identifier
	notBefore, notAfter *metav1.Time
	replaces            string
	// renewal exempts the order from rateLimits.newOrders.
	renewal bool
}

// newOrder creates an order, and the authorizations that it needs (RFC 8555 section 7.4).
func (s *Server) newOrder(r *request) (*answer.Answer, error) {
	r.span = s.tracer.Begin(r.route, r.begun)
	if err := r.requireIssuer(); err != nil {
		return nil, err
	}
	if err := r.requireRoom(); err != nil {
		return nil, err
	}
	if err := r.requireTerms(); err != nil {
		return nil, err
	}
	asked, err := s.checkOrder(r)
	if err != nil {
		return nil, err
	}
	unlock, err := s.lockLimit(r.Context(), r.issuer.Spec.RateLimits.NewOrders, r.account.Namespace, r.account.Name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := s.limitOrders(r, asked.renewal, asked.identifiers...); err != nil {
		return nil, err
	}
	if err := s.limitPending(r, 1, asked.proofs()); err != nil {
		return nil, err
	}
	name := newID()
	authorizations, err := s.authorize(r, name, asked)
	if err != nil {
		return nil, err
	}
	order := &v1alpha1.AcmeOrder{Spec: v1alpha1.AcmeOrderSpec{
		IssuerRef:      v1alpha1.ObjectRef{Name: r.issuer.Key.Name},
		AccountRef:     v1alpha1.ObjectRef{Name: r.account.Name},
		NotBefore:      asked.notBefore,
		NotAfter:       asked.notAfter,
		Profile:        asked.profile.Name,
		Replaces:       asked.replaces,
		Authorizations: authorizations,
		Grants:         asked.grants(),
	}}
	for _, id := range asked.identifiers {
		order.Spec.Identifiers = append(order.Spec.Identifiers, v1alpha1.Identifier(id))
	}
	order.Namespace, order.Name = r.issuer.Key.Namespace, name
	if asked.renewal {
		order.Annotations = map[string]string{store.RenewalAnnotation: "true"}
	}
	order.Annotations = r.span.Annotated(order.Annotations)
	r.span.Text("acmeca.order", order.Name)
	if err := s.store.Orders.Create(r.Context(), order); err != nil {
		return nil, err
	}
	return s.orderAnswer(r, http.StatusCreated, order)
}

// checkOrder reads the payload of a new order, and checks it against the issuer's policy.
func (s *Server) checkOrder(r *request) (*orderRequest, error) {
	var payload acme.OrderRequest
	if err := r.unmarshal(&payload); err != nil {
		return nil, err
	}
	admitted, problem := r.policy().AdmitOrder(policy.RequestedTerms(&payload, s.now()))
	if problem != nil {
		return nil, problem
	}
	ancestors, problem := ancestors(payload.Identifiers)
	if problem != nil {
		return nil, problem
	}
	isRenewal, err := s.checkReplaces(r, payload.Replaces, admitted.Identifiers)
	if err != nil {
		return nil, err
	}
	return &orderRequest{
		admitted.Profile, admitted.Identifiers, admitted.Granted, ancestors, timeOrNil(payload.NotBefore), timeOrNil(payload.NotAfter),
		payload.Replaces, isRenewal,
	}, nil
}

// proofs returns the number of identifiers that no grant authorizes.
func (o *orderRequest) proofs() int {
	proofs := 0
	for _, grant := range o.granted {
		if grant == "" {
			proofs++
		}
	}
	return proofs
}

// grants returns the grants as an order stores them: nil if there are none.
func (o *orderRequest) grants() []string {
	if o.proofs() == len(o.granted) {
		return nil
	}
	return o.granted
}

// checkReplaces checks that an order may replace the certificate that it names (RFC 9773 section 5): one of the same
// account, with an identifier in common, that no other order replaces. It reports whether the order is exempt from
// rateLimits.newOrders. Two concurrent orders may both pass; the controllers issue only one of them a certificate.
func (s *Server) checkReplaces(r *request, certID string, identifiers []acme.Identifier) (isRenewal bool, err error) {
	if certID == "" {
		return false, nil
	}
	id, problem := acme.ParseCertID(certID)
	if problem != nil {
		return false, acme.NewProblem(acme.Malformed, "\"replaces\": %s", problem.Detail)
	}
	replaced, err := s.orderOfCertificate(r.call, id)
	if errors.Is(err, store.ErrNotFound) {
		return false, acme.NewProblem(acme.Malformed, "\"replaces\" names a certificate that is not known here")
	}
	if err != nil {
		return false, err
	}
	if problem := policy.Replaces(replaced, r.account.Name, identifiers); problem != nil {
		return false, problem
	}
	taken, err := s.isReplaced(r, certID)
	if err != nil {
		return false, err
	}
	if taken {
		return false, policy.AlreadyReplaced().WithStatus(http.StatusConflict)
	}
	return s.isDueRenewal(r.call, replaced, id, identifiers), nil
}

// isReplaced reports whether an order of the account, which owns the certificate, replaced a certificate or is about to.
func (s *Server) isReplaced(r *request, certID string) (bool, error) {
	// Unfinished orders come first: one that is finished meanwhile is in the other set already.
	unfinished, err := s.store.PendingOrders(r.Context(), r.account)
	if err != nil {
		return false, err
	}
	for _, order := range unfinished {
		if order.Spec.Replaces == certID && !s.isInvalid(r.Context(), order) {
			return true, nil
		}
	}
	return s.store.IsReplaced(r.Context(), r.issuer.Key, certID)
}

// isDueRenewal reports whether an order for identifiers renews a certificate when that is suggested: it has the same
// identifiers, the suggested window has begun, and the certificate has not expired.
func (s *Server) isDueRenewal(c *call, replaced *v1alpha1.AcmeOrder, id acme.CertID, identifiers []acme.Identifier) bool {
	names := replaced.Names()
	if len(names) != len(identifiers) || slices.ContainsFunc(names, func(n acme.Identifier) bool { return !slices.Contains(identifiers, n) }) {
		return false
	}
	window, _ := renewal.Suggest(c.issuer, replaced, id)
	now := s.now()
	return !now.Before(window.Start) && !now.After(replaced.Status.NotAfter.Time)
}

// maxParallelWrites bounds the concurrent writes of one request.
const maxParallelWrites = 16

// authorize returns the names of the authorizations for an order's identifiers. Each is a reusable authorization of the
// account, or one of the order's own, which is stored once the client chooses a challenge. Identifiers under a domain that
// the client offers to prove control of share an authorization of that domain, if the issuer allows it. A granted identifier
// has an authorization of the order's own.
func (s *Server) authorize(r *request, order string, asked *orderRequest) ([]string, error) {
	names := make([]string, len(asked.identifiers))
	for i, id := range asked.identifiers {
		if asked.granted[i] != "" {
			names[i] = v1alpha1.OwnAuthorization(order, i)
			continue
		}
		var err error
		if names[i], err = s.usableAuthorization(r, id); err != nil {
			return nil, err
		}
	}
	group, ctx := errgroup.WithContext(r.Context())
	group.SetLimit(maxParallelWrites)
	shared := map[acme.Identifier]string{}
	for i, id := range asked.identifiers {
		domain, offered := asked.ancestors[id]
		if offered && names[i] == "" {
			names[i] = shared[domain]
		}
		if names[i] != "" {
			continue
		}
		names[i] = v1alpha1.OwnAuthorization(order, i)
		if !offered {
			continue
		}
		authz := r.subdomainAuthorization(domain)
		if authz == nil {
			continue
		}
		authz.Annotations = r.span.Annotated(authz.Annotations)
		shared[domain], names[i] = authz.Name, authz.Name
		group.Go(func() error { return s.store.Authorizations.Create(ctx, authz) })
	}
	return names, group.Wait()
}

// newID returns the name of a new order or authorization.
func newID() string { return v1alpha1.NewObjectName(time.Now()) }

func timeOrNil(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	return &metav1.Time{Time: t}
}

// order returns an order. It waits briefly for a state that the client waits for.
func (s *Server) order(r *request) (*answer.Answer, error) {
	if err := r.requirePOSTAsGET(); err != nil {
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

// orderOf returns an order of the account.
func (s *Server) orderOf(r *request, id string) (*v1alpha1.AcmeOrder, error) {
	key, err := objectKey(r.issuer, id, "order")
	if err != nil {
		return nil, err
	}
	order, err := s.store.Orders.Get(r.Context(), key)
	if err != nil {
		return nil, err
	}
	if err := r.requireOwner(order.Spec.AccountRef, order.Spec.IssuerRef, "order"); err != nil {
		return nil, err
	}
	s.trace(r.call, order)
	return order, nil
}

// awaitOrder waits for an order that the controllers are about to finish: it is being issued, or has become invalid.
func (s *Server) awaitOrder(r *request, order *v1alpha1.AcmeOrder) (*v1alpha1.AcmeOrder, error) {
	state, err := s.orderState(r.Context(), order)
	if err != nil || order.Finished() || state == acme.StatePending || state == acme.StateReady {
		return order, err
	}
	if err := r.requireIssuer(); err != nil && state == acme.StateInvalid {
		return order, nil //nolint:nilerr // it stays invalid, whether or not the issuer recovers
	} else if err != nil {
		return nil, err // or the client would see "processing" without a reason, until the issuer recovers
	}
	ctx, cancel := context.WithTimeout(r.Context(), changeTimeout)
	defer cancel()
	return s.store.Orders.Await(ctx, client.ObjectKeyFromObject(order), (*v1alpha1.AcmeOrder).Finished)
}

// orderAnswer returns the document of an order, in the state that orderState derives.
func (s *Server) orderAnswer(r *request, status int, order *v1alpha1.AcmeOrder) (*answer.Answer, error) {
	state, err := s.orderState(r.Context(), order)
	if err != nil {
		return nil, err
	}
	document := orderDocument{
		Status:   state,
		Expires:  rfc3339(order.ExpiresAt(r.issuer.Spec.Lifetimes)),
		Profile:  order.Spec.Profile,
		Replaces: order.Spec.Replaces,
		Error:    answer.DocumentOf(order.Status.Problem.ACME()),
		Finalize: r.url(acme.FinalizePath(order.Name)),

		Identifiers: order.Names(),
	}
	for i, name := range order.Spec.Authorizations {
		if !slices.Contains(order.Spec.Authorizations[:i], name) { // names below one domain can share its authorization
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
	result := &answer.Answer{Status: status, Body: document, Location: r.url(acme.OrderPath(order.Name))}
	if state == acme.StateProcessing {
		result.RetryAfter = answer.RetryProcessing
	}
	return result, nil
}

// orderState returns the state of an order for its client. The state of an unfinished order is derived from its finalization and its
// authorizations, since the controllers do not write every step.
func (s *Server) orderState(ctx context.Context, order *v1alpha1.AcmeOrder) (acme.State, error) {
	switch {
	case order.Finished():
		return order.Status.State, nil
	case order.Finalized():
		return acme.StateProcessing, nil
	}
	state := acme.StateReady
	for i := range order.Spec.Authorizations {
		authz, found, err := s.authorizationOfOrder(ctx, order, i)
		switch {
		case err != nil:
			return acme.StatePending, err
		case !found, authz.Pending():
			state = acme.StatePending
		case !s.isUsable(authz):
			// The order is invalid before the controllers write so: it must not become pending after it was ready.
			return acme.StateInvalid, nil
		}
	}
	return state, nil
}

// isInvalid reports whether clients are shown that an order is invalid. If its authorizations cannot be read, its stored
// state counts.
func (s *Server) isInvalid(ctx context.Context, order *v1alpha1.AcmeOrder) bool {
	state, err := s.orderState(ctx, order)
	if err != nil {
		state = order.Status.State
	}
	return state == acme.StateInvalid
}

// liveOrderState returns the state of a pending order from the API server's authorizations. It stops at the first one that
// is not valid, so that a client that is early costs one read.
func (s *Server) liveOrderState(r *request, order *v1alpha1.AcmeOrder) (acme.State, error) {
	for i, name := range order.Spec.Authorizations {
		authz, found, err := s.authorizationOfOrder(r.Context(), order, i)
		if err == nil && (!found || !s.isUsable(authz)) {
			authz, err = s.store.Authorizations.GetLive(r.Context(), types.NamespacedName{Namespace: order.Namespace, Name: name})
		}
		if errors.Is(err, store.ErrNotFound) && order.IsOwnAuthorization(i) {
			return acme.StatePending, nil
		}
		if err != nil || !s.isUsable(authz) {
			return acme.StatePending, err
		}
	}
	return acme.StateReady, nil
}

// authorizationOfOrder returns the authorization of an order's identifier. An own authorization of the order is not found
// while it is virtual, unless a grant decides about it.
func (s *Server) authorizationOfOrder(
	ctx context.Context, order *v1alpha1.AcmeOrder, identifier int,
) (authz *v1alpha1.AcmeAuthorization, found bool, err error) {
	key := types.NamespacedName{Namespace: order.Namespace, Name: order.Spec.Authorizations[identifier]}
	if order.IsOwnAuthorization(identifier) {
		authz, found, err = s.store.Authorizations.Find(ctx, key)
		if err != nil || found || order.Grant(identifier) == "" {
			return authz, found, err
		}
		authz = order.AwaitedAuthorization(identifier)
		return authz, true, s.applyGrant(ctx, order, identifier, authz)
	}
	authz, err = s.store.Authorizations.Get(ctx, key)
	return authz, err == nil, err
}
