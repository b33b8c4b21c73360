// Package order holds the controller of orders: it issues certificates and revokes them.
package order

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/attempts"
	"github.com/acmeca/acmeca/controllers/audit"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/kube"
	"github.com/acmeca/acmeca/controllers/metrics"
	"github.com/acmeca/acmeca/controllers/verify"
	"github.com/acmeca/acmeca/internal/policy"
	"github.com/acmeca/acmeca/internal/tracing"
)

const (
	// readyDelay is how long a client may take to finalize before "ready" is written down. The ACME server tells clients
	// that they can finalize without it, so that it is for people, and costs a write only where the client is slow.
	readyDelay = 2 * time.Second
	// clockSkew is how far the ACME server's clock may be ahead of the controller's.
	clockSkew = time.Minute
)

// Reconciler issues certificates, and revokes them.
type Reconciler struct {
	Client client.Client
	// Live reads past the cache, where an outdated answer would do harm.
	Live            client.Reader
	Issuers         *issuers.Registry
	CompromisedKeys *issuers.CompromisedKeys
	CAA             *attempts.CAAChecks
	// Replacements are of certificates, by orders for new ones.
	Replacements *Replacements
	Events       events.EventRecorder
	Clock        clock.PassiveClock
	Metrics      *metrics.Metrics
	Tracer       *tracing.Tracer
}

// Reconcile takes an order one step on.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	order := &v1alpha1.AcmeOrder{}
	err := r.Client.Get(ctx, request.NamespacedName, order)
	if err != nil || !kube.Unfinished(order) {
		r.CAA.Forget(request.NamespacedName)
		r.Replacements.Forget(request.NamespacedName)
	}
	if err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if order.DeletionTimestamp != nil && !kube.RevocationPending(order) {
		return ctrl.Result{}, r.removeFinalizer(ctx, order)
	}
	if order.Status.State == acme.StateInvalid || order.Status.State == acme.StateValid && !kube.RevocationPending(order) {
		return ctrl.Result{}, nil
	}
	base, begun := order.DeepCopy(), time.Now()
	result, err := r.step(ctx, order)
	if err != nil {
		return ctrl.Result{}, err
	}
	if err := kube.WriteStatus(ctx, r.Client, order, base); err != nil {
		return ctrl.Result{}, err
	}
	r.audit(ctx, base, order)
	r.Metrics.OrderChanged(base, order, r.Clock.Now())
	r.trace(base, order, begun)
	return result, nil
}

// audit tells of what was decided, and of whose account it was.
func (r *Reconciler) audit(ctx context.Context, base, order *v1alpha1.AcmeOrder) {
	account := &v1alpha1.AcmeAccount{}
	if err := r.Client.Get(ctx, client.ObjectKey{Namespace: order.Namespace, Name: order.Spec.AccountRef.Name}, account); err != nil {
		account = nil // gone in the meantime
	}
	audit.Order(ctx, base, order, account)
}

// trace makes the end of an order, from the look at it to its being written, a part of its trace.
func (r *Reconciler) trace(base, order *v1alpha1.AcmeOrder, begun time.Time) {
	if r.Tracer == nil || base.Status.State == order.Status.State || kube.Unfinished(order) {
		return
	}
	span := r.Tracer.Continue(order.Annotations, "issue", begun)
	span.Text("acmeca.order", order.Name)
	span.Text("acmeca.serial", order.Status.Serial)
	if order.Status.Problem != nil {
		span.Fail(order.Status.Problem.ACME().Error())
	}
	span.End(time.Now())
}

// step sets the status that the order has come to, and says when to look again.
func (r *Reconciler) step(ctx context.Context, order *v1alpha1.AcmeOrder) (ctrl.Result, error) {
	if order.Status.State == acme.StateValid {
		issuer, ok := r.Issuers.Loaded(order.Namespace, order.Spec.IssuerRef.Name)
		if !ok {
			return ctrl.Result{}, r.removeFinalizer(ctx, order) // the issuer wakes its orders when it can revoke
		}
		return ctrl.Result{}, r.revoke(ctx, issuer, order)
	}
	issuer, ok := r.Issuers.ReadyToIssue(order.Namespace, order.Spec.IssuerRef.Name)
	if !ok {
		return ctrl.Result{}, r.withoutIssuer(ctx, order)
	}
	problem, _, err := verify.EndedAccount(ctx, r.Client, order.Namespace, order.Spec.AccountRef.Name)
	if problem == nil && err == nil {
		problem, err = r.Replacements.Fault(ctx, order)
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	if problem != nil {
		r.fail(order, problem)
		return ctrl.Result{}, nil
	}
	now := r.Clock.Now()
	expires := order.ExpiresAt(issuer.Spec.Lifetimes)
	if !now.Before(expires.Time) {
		r.fail(order, acme.NewProblem(acme.Malformed, "the order was not finished before it expired at %s", expires.UTC().Format(time.RFC3339)))
		return ctrl.Result{}, nil
	}
	again := ctrl.Result{RequeueAfter: expires.Sub(now)}
	if issuer.Spec.Suspend {
		return again, nil
	}
	authorized, wait, err := r.authorized(ctx, issuer, order, now)
	switch {
	case err != nil:
		return ctrl.Result{}, err
	case wait > 0:
		return ctrl.Result{RequeueAfter: wait}, nil
	case order.Status.State == acme.StateInvalid, !authorized:
		return again, nil
	case order.Spec.CSR == "":
		return r.ready(order, expires, now), nil
	}
	if permitted, err := r.caaPermits(ctx, issuer, order, now); err != nil || !permitted {
		return again, err
	}
	return again, r.issue(ctx, issuer, order, expires, now)
}

// withoutIssuer ends an order whose issuer is gone, and leaves one whose issuer can't issue just now to wait for it.
func (r *Reconciler) withoutIssuer(ctx context.Context, order *v1alpha1.AcmeOrder) error {
	ending, err := kube.IssuerEnding(ctx, r.Client, r.Live, order.Namespace, order.Spec.IssuerRef.Name)
	if err != nil {
		return err
	}
	if ending {
		r.fail(order, verify.IssuerDeleted(order.Spec.IssuerRef))
		return nil
	}
	issuer := &v1alpha1.AcmeIssuer{}
	if err := r.Live.Get(ctx, client.ObjectKey{Namespace: order.Namespace, Name: order.Spec.IssuerRef.Name}, issuer); err != nil {
		return client.IgnoreNotFound(err)
	}
	// After a restart the issuer may just not be loaded yet, which is over in a moment.
	if ready := meta.FindStatusCondition(issuer.Status.Conditions, v1alpha1.ConditionReady); order.Spec.CSR != "" && ready != nil && ready.Status == metav1.ConditionFalse {
		r.setReady(order, metav1.ConditionFalse, v1alpha1.ReasonIssuerNotReady, acme.Printable("the issuer can't issue now: "+ready.Message, kube.MaxMessage))
	}
	return nil
}

// authorized reports whether every identifier of the order is covered by an authorization that counts now, and fails the
// order where one can't come to. A wait says when to look for an authorization that isn't there yet.
func (r *Reconciler) authorized(ctx context.Context, issuer *issuers.Issuer, order *v1alpha1.AcmeOrder, now time.Time) (ok bool, wait time.Duration, err error) {
	if len(order.Spec.Authorizations) != len(order.Spec.Identifiers) {
		r.fail(order, acme.NewProblem(acme.Malformed, "the order has %d authorizations for %d identifiers", len(order.Spec.Authorizations), len(order.Spec.Identifiers)))
		return false, 0, nil
	}
	ok = true
	var failed []acme.Problem
	for i, name := range order.Spec.Authorizations {
		identifier := order.Spec.Identifiers[i].ACME()
		authz := &v1alpha1.AcmeAuthorization{}
		// Without a copy, since each of an order's authorizations brings it here, to look at all of them.
		err := r.Client.Get(ctx, client.ObjectKey{Namespace: order.Namespace, Name: name}, authz, client.UnsafeDisableDeepCopy)
		switch missing := apierrors.IsNotFound(err); {
		case missing && order.Awaits(i):
			ok = false // it isn't stored before its client chooses a challenge
			continue
		case missing && now.Sub(askedFor(order)) < kube.MissingGrace:
			return false, time.Second, nil
		}
		if client.IgnoreNotFound(err) != nil {
			return false, 0, err
		}
		problem := authorizationFault(issuer, order, authz, identifier, now)
		if err != nil {
			problem = acme.NewProblem(acme.Unauthorized, "the authorization %s does not exist", name)
		}
		if problem != nil {
			failed = append(failed, *problem.About(identifier))
		}
		ok = ok && authz.Status.State == acme.StateValid
	}
	switch {
	case len(failed) == 1:
		r.fail(order, &failed[0])
	case len(failed) > 1:
		problem := acme.NewProblem(acme.Compound, "%d of %d identifiers were not authorized", len(failed), len(order.Spec.Identifiers)).WithStatus(403)
		problem.Subproblems = failed
		r.fail(order, problem)
	}
	return ok && len(failed) == 0, 0, nil
}

// askedFor is when an order's client last asked for something that needs its authorizations to be there.
func askedFor(order *v1alpha1.AcmeOrder) time.Time {
	if f := order.Spec.Finalization; f != nil && f.Time.After(order.CreationTimestamp.Time) {
		return f.Time.Time
	}
	return order.CreationTimestamp.Time
}

// authorizationFault says why an authorization can't let the order have an identifier, now or ever; nil for one that
// does, and for one that is pending. Only an explicit "valid" that stands for the very same account and issuer, and covers the
// identifier, counts.
func authorizationFault(issuer *issuers.Issuer, order *v1alpha1.AcmeOrder, authz *v1alpha1.AcmeAuthorization, identifier acme.Identifier, now time.Time) *acme.Problem {
	if authz.Spec.AccountRef != order.Spec.AccountRef || authz.Spec.IssuerRef != order.Spec.IssuerRef {
		return acme.NewProblem(acme.Unauthorized, "the authorization belongs to another account or issuer")
	}
	if problem := verify.Coverage(issuer, authz, identifier); problem != nil {
		return problem
	}
	switch authz.Status.State {
	case acme.StatePending:
		return nil
	case acme.StateValid:
		if authz.Status.Expires == nil || !now.Before(authz.Status.Expires.Time) {
			return acme.NewProblem(acme.Unauthorized, "the authorization has expired")
		}
		return nil
	}
	if authz.Status.Problem != nil {
		problem := authz.Status.Problem.ACME()
		problem.Status = 403
		return problem
	}
	return acme.NewProblem(acme.Unauthorized, "the authorization is %s", authz.Status.State)
}

// ready notes that the order waits for its client, once it has done so for a while.
func (r *Reconciler) ready(order *v1alpha1.AcmeOrder, expires metav1.Time, now time.Time) ctrl.Result {
	again := ctrl.Result{RequeueAfter: expires.Sub(now)}
	if order.Status.State == acme.StateReady {
		return again
	}
	if wait := r.authorizedSince(order, now); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}
	}
	order.Status.State, order.Status.Expires = acme.StateReady, &expires
	r.setReady(order, metav1.ConditionFalse, v1alpha1.ReasonAuthorized, "every identifier is authorized; the client has yet to finalize")
	return again
}

// authorizedSince gives how long to wait until the order has been authorized for readyDelay. An order that was made on
// authorizations that existed counts from its creation.
func (r *Reconciler) authorizedSince(order *v1alpha1.AcmeOrder, now time.Time) time.Duration {
	newest := order.CreationTimestamp.Time
	for _, name := range order.Spec.Authorizations {
		authz := &v1alpha1.AcmeAuthorization{}
		if r.Client.Get(context.Background(), client.ObjectKey{Namespace: order.Namespace, Name: name}, authz, client.UnsafeDisableDeepCopy) != nil {
			continue
		}
		if c := authz.Status.Challenge; c != nil && c.ValidatedAt != nil && c.ValidatedAt.After(newest) {
			newest = c.ValidatedAt.Time
		}
	}
	return newest.Add(readyDelay).Sub(now)
}

// issue makes the certificate, or fails the order. Doing it again gives the very same certificate.
func (r *Reconciler) issue(ctx context.Context, issuer *issuers.Issuer, order *v1alpha1.AcmeOrder, expires metav1.Time, now time.Time) error {
	order.Status.Expires = &expires
	account, err := r.loadAccount(ctx, order, now)
	if err != nil || account == nil {
		return err
	}
	account, problem, err := verify.LiveAccount(ctx, r.Live, account, func(a *v1alpha1.AcmeAccount) *acme.Problem { return verify.Finalization(issuer, a, order) })
	if err != nil {
		return err
	}
	if problem != nil {
		r.Events.Eventf(order, nil, "Warning", "FinalizationRefused", "Finalize", "%s", problem.Error())
		r.fail(order, problem)
		return nil
	}
	request, profile, problem := issuance(issuer, account, order, now)
	if problem != nil {
		r.fail(order, problem)
		return nil
	}
	if problem, err = r.checkUniqueness(ctx, issuer, account, order, request.CSR.PublicKey); err != nil {
		return err
	}
	if problem != nil {
		r.fail(order, problem)
		return nil
	}
	certificate, err := r.sign(order, issuer.Authority, profile, request)
	if err != nil {
		r.fail(order, certificateProblem(err))
		return nil
	}
	record(order, certificate, issuer.Chain)
	order.Status.CRL = issuer.ShardOf(order)
	r.setReady(order, metav1.ConditionTrue, v1alpha1.ReasonIssued, "the certificate was issued")
	return nil
}

// checkUniqueness says what keeps an order that is right by itself from a certificate.
func (r *Reconciler) checkUniqueness(ctx context.Context, issuer *issuers.Issuer, account *v1alpha1.AcmeAccount, order *v1alpha1.AcmeOrder, key crypto.PublicKey) (*acme.Problem, error) {
	if problem, err := r.termsFault(ctx, issuer, account); problem != nil || err != nil {
		return problem, err
	}
	if problem, err := r.keyFault(ctx, order, key); problem != nil || err != nil {
		return problem, err
	}
	if problem := r.Replacements.Hold(order); problem != nil {
		return problem, nil
	}
	return r.Replacements.Fault(ctx, order)
}

// termsFault says that the account hasn't agreed to the issuer's terms. The cache may not show yet that it just has.
func (r *Reconciler) termsFault(ctx context.Context, issuer *issuers.Issuer, account *v1alpha1.AcmeAccount) (*acme.Problem, error) {
	terms := issuer.Spec.Account.TermsOfService
	if policy.Agreed(account, terms) {
		return nil, nil
	}
	now := &v1alpha1.AcmeAccount{}
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(account), now); err != nil {
		return nil, err
	}
	return policy.Terms(now, terms), nil
}

// sign has the certificate made, in the CA's two steps.
func (r *Reconciler) sign(order *v1alpha1.AcmeOrder, authority *ca.Authority, profile *ca.Profile, request ca.Request) (*x509.Certificate, error) {
	begun := time.Now()
	prepared, err := authority.Prepare(profile, request)
	if err != nil {
		return nil, err
	}
	linted := time.Now()
	certificate, err := authority.Sign(prepared)
	if err != nil {
		return nil, err
	}
	signed := time.Now()
	r.Metrics.CertificateSigned(linted.Sub(begun), signed.Sub(linted))
	r.Tracer.Continue(order.Annotations, "lint", begun).End(linted)
	r.Tracer.Continue(order.Annotations, "sign", linted).End(signed)
	return certificate, nil
}

// keyFault says why a certificate can't have a key that is good by itself.
func (r *Reconciler) keyFault(ctx context.Context, order *v1alpha1.AcmeOrder, key crypto.PublicKey) (*acme.Problem, error) {
	if problem, err := accountKeyFault(ctx, r.Client, key); problem != nil || err != nil {
		return problem, err
	}
	return r.CompromisedKeys.Fault(ctx, order, key)
}

// loadAccount gives the account of an order. It fails the order, and gives none, where there is none and won't be.
func (r *Reconciler) loadAccount(ctx context.Context, order *v1alpha1.AcmeOrder, now time.Time) (*v1alpha1.AcmeAccount, error) {
	account := &v1alpha1.AcmeAccount{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: order.Namespace, Name: order.Spec.AccountRef.Name}, account)
	if apierrors.IsNotFound(err) && now.Sub(order.CreationTimestamp.Time) >= kube.MissingGrace {
		r.fail(order, acme.NewProblem(acme.AccountDoesNotExist, "there is no account %s", order.Spec.AccountRef.Name))
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return account, nil
}

// issuance checks all that decides over a certificate once more, and puts it together for the CA.
func issuance(issuer *issuers.Issuer, account *v1alpha1.AcmeAccount, order *v1alpha1.AcmeOrder, now time.Time) (ca.Request, *ca.Profile, *acme.Problem) {
	identifiers := make([]acme.Identifier, len(order.Spec.Identifiers))
	for i, id := range order.Spec.Identifiers {
		normal, problem := id.ACME().Normalize()
		if problem != nil {
			return ca.Request{}, nil, problem
		}
		identifiers[i] = normal
	}
	allowed := issuer.Policy.ForAccount(account)
	if problem := allowed.Identifiers(identifiers); problem != nil {
		return ca.Request{}, nil, problem
	}
	profile, problem := allowed.Profile(order.Spec.Profile)
	if problem != nil {
		return ca.Request{}, nil, problem
	}
	if len(identifiers) > profile.MaxIdentifiers {
		return ca.Request{}, nil, acme.NewProblem(acme.Malformed, "an order on profile %q has at most %d identifiers", profile.Name, profile.MaxIdentifiers)
	}
	key, problem := verify.AccountKey(account)
	if problem != nil {
		return ca.Request{}, nil, problem
	}
	csr, problem := policy.ParseCSR(order.CSRBytes(), identifiers, policy.CSROptions{
		AccountKey: key.Public(), CAKeys: issuer.CAKeys, KeyAlgorithms: profile.KeyAlgorithms,
	})
	if problem != nil {
		return ca.Request{}, nil, problem
	}
	if problem := allowed.Rules(identifiers, profile.Name, csr); problem != nil {
		return ca.Request{}, nil, problem
	}
	finalized := order.Spec.Finalization.Time.Time
	if finalized.After(now.Add(clockSkew)) || finalized.Before(order.CreationTimestamp.Add(-clockSkew)) {
		return ca.Request{}, nil, acme.NewProblem(acme.ServerInternal, "the time of the finalize request, %s, is not between the order's creation and now", finalized.UTC().Format(time.RFC3339))
	}
	request := ca.Request{
		ID: string(order.UID), Identifiers: identifiers, CSR: csr, FinalizedAt: finalized,
		// The ACME server looked at the order before it was stored, by its own clock.
		OrderedAt: order.CreationTimestamp.Add(-clockSkew),
		IssuerURL: issuer.CertificateURL(), CRLURL: issuer.CRLURL(issuer.ShardOf(order)),
	}
	if order.Spec.NotBefore != nil {
		request.NotBefore = order.Spec.NotBefore.Time
	}
	if order.Spec.NotAfter != nil {
		request.NotAfter = order.Spec.NotAfter.Time
	}
	return request, issuer.Profiles[profile.Name], nil
}

// record notes the certificate in the order's status.
func record(order *v1alpha1.AcmeOrder, certificate *x509.Certificate, chainPEM []byte) {
	status := &order.Status
	notBefore, notAfter := metav1.NewTime(certificate.NotBefore), metav1.NewTime(certificate.NotAfter)
	status.State, status.Problem = acme.StateValid, nil
	status.Certificate = string(bytes.Join([][]byte{ca.EncodeCertificates(certificate), chainPEM}, nil))
	status.KeyFingerprint, _ = issuers.KeyFingerprint(certificate.PublicKey) // which is in a certificate, and so can be encoded
	status.Serial = v1alpha1.SerialText(certificate.SerialNumber)
	status.CertificateID = acme.NewCertID(certificate.AuthorityKeyId, certificate.SerialNumber).String()
	status.NotBefore, status.NotAfter = &notBefore, &notAfter
}

// certificateProblem says what kept the CA from making a certificate.
func certificateProblem(err error) *acme.Problem {
	if problem, ok := errors.AsType[*acme.Problem](err); ok {
		return problem
	}
	return acme.NewProblem(acme.ServerInternal, "the certificate could not be made: %v", err)
}

func (r *Reconciler) fail(order *v1alpha1.AcmeOrder, problem *acme.Problem) {
	order.Status.State, order.Status.Problem = acme.StateInvalid, v1alpha1.ProblemFrom(problem)
	r.setReady(order, metav1.ConditionFalse, reasonOf(problem), problem.Detail)
}

func (r *Reconciler) setReady(order *v1alpha1.AcmeOrder, status metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(&order.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: status, Reason: reason, Message: message,
		ObservedGeneration: order.Generation, LastTransitionTime: metav1.NewTime(r.Clock.Now()),
	})
}

// reasonOf makes a condition's reason of a problem's type: "badCSR" becomes "BadCSR".
func reasonOf(problem *acme.Problem) string {
	t := string(problem.Type)
	if t == "" {
		return "Failed"
	}
	return fmt.Sprintf("%c%s", t[0]-'a'+'A', t[1:])
}
