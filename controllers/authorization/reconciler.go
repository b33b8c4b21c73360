// Package authorization holds the controller of authorizations: it decides whether an account controls an identifier.
package authorization

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/attempts"
	"github.com/acmeca/acmeca/controllers/audit"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/kube"
	"github.com/acmeca/acmeca/controllers/validation"
	"github.com/acmeca/acmeca/controllers/verify"
)

// Reconciler decides whether an account controls a name.
type Reconciler struct {
	Client client.Client
	// Live reads past the cache, where an outdated answer would do harm.
	Live     client.Reader
	Issuers  *issuers.Registry
	Attempts *attempts.Runner
	Events   events.EventRecorder
	Clock    clock.PassiveClock
}

// SetupWithManager adds the controller to a manager. It reconciles the authorizations of the issuers that come from
// issuersReady, and the authorizations whose attempts have ended, from ended.
func (r *Reconciler) SetupWithManager(mgr manager.Manager, options controller.Options, issuersReady, ended <-chan event.GenericEvent) error {
	return ctrl.NewControllerManagedBy(mgr).Named("authorization").For(&v1alpha1.AcmeAuthorization{}).
		Watches(&v1alpha1.AcmeAccount{}, kube.OfEndedAccount(mgr.GetClient(), &v1alpha1.AcmeAuthorizationList{})).
		WatchesRawSource(source.Channel(ended, &handler.EnqueueRequestForObject{})).
		WatchesRawSource(source.Channel(issuersReady, kube.OfIssuer(mgr.GetClient(), &v1alpha1.AcmeAuthorizationList{}))).
		WithOptions(options).Complete(kube.RetryConflicts(r))
}

// Reconcile takes an authorization one step on.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	authz := &v1alpha1.AcmeAuthorization{}
	if err := r.Client.Get(ctx, request.NamespacedName, authz); err != nil {
		r.Attempts.Forget(request.NamespacedName)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if authz.Status.State != acme.StatePending {
		r.Attempts.Forget(request.NamespacedName)
	}
	if authz.Status.State.Final() {
		return ctrl.Result{}, nil
	}
	issuer, ok := r.Issuers.ReadyToIssue(authz.Namespace, authz.Spec.IssuerRef.Name)
	if !ok {
		return ctrl.Result{}, r.withoutIssuer(ctx, authz)
	}
	base := authz.DeepCopy()
	result, next, err := r.step(ctx, issuer, authz)
	if err != nil {
		return ctrl.Result{}, err
	}
	if authz.Status.State.Final() && authz.Status.Expires == nil {
		// What ended before it could expire is removed when it would have been otherwise.
		expires := authz.ExpiresAt(issuer.Spec.Lifetimes)
		authz.Status.Expires = &expires
	}
	if err := kube.WriteStatus(ctx, r.Client, authz, base); err != nil {
		return ctrl.Result{}, err
	}
	if next != nil {
		next() // only now: a write that failed is tried again with the outcome that the next attempt replaces
	}
	return result, nil
}

// step sets the status that the authorization has come to, and says when to look again, and what to do once that status has
// been written.
func (r *Reconciler) step(ctx context.Context, issuer *issuers.Issuer, authz *v1alpha1.AcmeAuthorization) (result ctrl.Result, next func(), err error) {
	problem, state, err := verify.EndedAccount(ctx, r.Client, authz.Namespace, authz.Spec.AccountRef.Name)
	if err != nil {
		return ctrl.Result{}, nil, err
	}
	if problem != nil {
		endWith(state, problem, authz)
		return ctrl.Result{}, nil, nil
	}
	now := r.Clock.Now()
	expires := authz.ExpiresAt(issuer.Spec.Lifetimes)
	if !now.Before(expires.Time) {
		r.expire(authz, expires)
		return ctrl.Result{}, nil, nil
	}
	again := ctrl.Result{RequeueAfter: expires.Sub(now)}
	if authz.Spec.Deactivation == nil && (authz.Spec.Response == nil || authz.Status.State == acme.StateValid) {
		return again, nil, nil
	}
	account := &v1alpha1.AcmeAccount{}
	err = r.Client.Get(ctx, client.ObjectKey{Namespace: authz.Namespace, Name: authz.Spec.AccountRef.Name}, account)
	if apierrors.IsNotFound(err) && now.Sub(authz.CreationTimestamp.Time) >= kube.MissingGrace {
		r.fail(issuer, authz, nil, acme.NewProblem(acme.AccountDoesNotExist, "there is no account %s", authz.Spec.AccountRef.Name))
		return ctrl.Result{}, nil, nil
	}
	if err != nil {
		return ctrl.Result{}, nil, err
	}
	if authz.Spec.Deactivation != nil {
		_, problem, err := verify.LiveAccount(ctx, r.Live, account, func(a *v1alpha1.AcmeAccount) *acme.Problem {
			return verify.Deactivation(issuer, a, authz.Spec.Deactivation, acme.AuthorizationPath(authz.Name))
		})
		if err != nil {
			return ctrl.Result{}, nil, err
		}
		if problem == nil {
			authz.Status.State = verify.EndState(authz.Spec.Deactivation)
			return ctrl.Result{}, nil, nil
		}
		r.refused(ctx, authz, "Deactivation", problem)
	}
	if authz.Spec.Response == nil || authz.Status.State == acme.StateValid || issuer.Spec.Suspend {
		return again, nil, nil
	}
	next, err = r.validate(ctx, issuer, account, authz)
	return again, next, err
}

// withoutIssuer ends a pending authorization whose issuer is gone. Otherwise the issuer's becoming ready wakes it.
func (r *Reconciler) withoutIssuer(ctx context.Context, authz *v1alpha1.AcmeAuthorization) error {
	if authz.Status.State != acme.StatePending {
		return nil
	}
	if ending, err := kube.IssuerEnding(ctx, r.Client, r.Live, authz.Namespace, authz.Spec.IssuerRef.Name); err != nil || !ending {
		return err
	}
	base := authz.DeepCopy()
	now := metav1.NewTime(r.Clock.Now())
	authz.Status.State, authz.Status.Expires = acme.StateInvalid, &now
	authz.Status.Problem = v1alpha1.ProblemFrom(verify.IssuerDeleted(authz.Spec.IssuerRef).About(authz.Authorized()))
	return kube.WriteStatus(ctx, r.Client, authz, base)
}

// expire ends an authorization whose time is over (RFC 8555 section 7.1.6).
func (r *Reconciler) expire(authz *v1alpha1.AcmeAuthorization, expires metav1.Time) {
	if authz.Status.State == acme.StateValid {
		authz.Status.State = acme.StateExpired
		return
	}
	authz.Status.State = acme.StateInvalid
	authz.Status.Expires = &expires
	authz.Status.Problem = v1alpha1.ProblemFrom(acme.NewProblem(acme.Unauthorized, "control of the identifier was not proved in time"))
}

// validate takes up what came of the challenge that the client chose, and gives what has it tried, for the first time or
// again.
func (r *Reconciler) validate(ctx context.Context, issuer *issuers.Issuer, account *v1alpha1.AcmeAccount, authz *v1alpha1.AcmeAuthorization) (next func(), err error) {
	response := authz.Spec.Response
	challenge := &v1alpha1.ChallengeStatus{Type: response.Type, State: acme.StateProcessing}
	attempt := r.Attempts.Newest(authz, account)
	if attempt.Running {
		return nil, nil // it wakes this authorization when it ends
	}
	var problem *acme.Problem
	if attempt.Final() {
		// Its client's request was verified when it began, with the key that the account had then.
		problem = verify.Offer(issuer, account, authz)
	} else {
		account, problem, err = verify.LiveAccount(ctx, r.Live, account, func(a *v1alpha1.AcmeAccount) *acme.Problem { return verify.Response(issuer, a, authz) })
	}
	if err != nil {
		return nil, err
	}
	if problem != nil {
		r.refused(ctx, authz, "Response", problem)
		r.fail(issuer, authz, challenge, problem)
		return nil, nil
	}
	start := func() { r.Attempts.Start(issuer, account, authz, attempt.Number) }
	if attempt.Number == 0 {
		return start, nil
	}
	challenge.Attempts = attempt.Number
	challenge.Record = recordFrom(attempt.Result.Record)
	switch {
	case attempt.Result.Valid:
		at := metav1.NewTime(attempt.Ended)
		expires := metav1.NewTime(earliest(at.Add(issuer.Spec.Lifetimes.Authorization.Duration), attempt.Result.Until))
		if attempt.CAA && authz.Spec.Identifier.Type == acme.DNS {
			challenge.CAACheckedAt = &at
		}
		challenge.State, challenge.ValidatedAt = acme.StateValid, &at
		authz.Status.State, authz.Status.Expires, authz.Status.Challenge = acme.StateValid, &expires, challenge
		authz.Status.Problem = nil
		logf.FromContext(ctx).V(1).Info("validated", "identifier", authz.Authorized().Value, "challenge", response.Type, "account", account.Name)
	case attempt.Final():
		r.fail(issuer, authz, challenge, attempt.Result.Problem)
		logf.FromContext(ctx).Info("validation failed", "identifier", authz.Authorized().Value, "challenge", response.Type, "account", account.Name,
			"problem", attempt.Result.Problem.Error())
	default:
		// A transient failure: shown, and tried again while the challenge stays "processing" (RFC 8555 section 8.2).
		challenge.Problem = v1alpha1.ProblemFrom(attempt.Result.Problem)
		authz.Status.Challenge = challenge
		return start, nil
	}
	return nil, nil
}

// fail ends an authorization, and the challenge where one was tried.
func (r *Reconciler) fail(issuer *issuers.Issuer, authz *v1alpha1.AcmeAuthorization, challenge *v1alpha1.ChallengeStatus, problem *acme.Problem) {
	expires := authz.ExpiresAt(issuer.Spec.Lifetimes)
	problem = problem.About(authz.Authorized())
	authz.Status.State, authz.Status.Expires, authz.Status.Problem = acme.StateInvalid, &expires, v1alpha1.ProblemFrom(problem)
	if challenge != nil {
		challenge.State, challenge.Problem = acme.StateInvalid, authz.Status.Problem
		authz.Status.Challenge = challenge
	}
}

func (r *Reconciler) refused(ctx context.Context, authz *v1alpha1.AcmeAuthorization, what string, problem *acme.Problem) {
	audit.Log(ctx, audit.RequestRefused, audit.Line{
		Namespace: authz.Namespace, Issuer: authz.Spec.IssuerRef.Name, Account: authz.Spec.AccountRef.Name, Authorization: authz.Name,
		Identifiers: []string{authz.Authorized().Value}, Request: what, Problem: problem,
	})
	r.Events.Eventf(authz, nil, "Warning", what+"Refused", what, "%s", problem.Error())
}

func recordFrom(r validation.Record) *v1alpha1.ValidationRecord {
	at := metav1.NewTime(r.Time.Truncate(time.Second))
	return &v1alpha1.ValidationRecord{
		Time: &at, DurationMillis: r.DurationMillis, Resolver: r.Resolver, Addresses: r.Addresses, AddressUsed: r.AddressUsed,
		URLs: r.URLs, Records: r.Records, Perspectives: perspectivesFrom(r.Perspectives),
	}
}

func perspectivesFrom(records []validation.PerspectiveRecord) []v1alpha1.PerspectiveRecord {
	var out []v1alpha1.PerspectiveRecord
	for _, r := range records {
		out = append(out, v1alpha1.PerspectiveRecord{
			Name: r.Name, Valid: r.Valid, Problem: r.Problem, DurationMillis: r.DurationMillis,
			Resolver: r.Resolver, Addresses: r.Addresses, AddressUsed: r.AddressUsed,
		})
	}
	return out
}

// earliest is the sooner of two times, of which the second is zero for never.
func earliest(t, limit time.Time) time.Time {
	if !limit.IsZero() && limit.Before(t) {
		return limit
	}
	return t
}

// endWith ends an authorization whose account has ended: what was proved was proved for that account alone.
func endWith(account acme.State, problem *acme.Problem, authz *v1alpha1.AcmeAuthorization) {
	switch {
	case authz.Status.State == acme.StatePending:
		authz.Status.State = acme.StateInvalid
	case account == acme.StateDeactivated:
		authz.Status.State = acme.StateDeactivated
	default:
		authz.Status.State = acme.StateRevoked
	}
	authz.Status.Problem = v1alpha1.ProblemFrom(problem)
}
