// Package authorization holds the controller of authorizations: it decides whether an account controls an identifier.
package authorization

import (
	"context"

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
	"github.com/acmeca/acmeca/controllers/budget"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/kube"
)

// Reconciler decides whether an account controls an identifier.
type Reconciler struct {
	Client client.Client
	// Live reads past the cache, before a refusal that would rest on a stale account.
	Live    client.Reader
	Issuers *issuers.Registry
	// Budget says whether the issuer's objects use too many bytes; nil for no ceilings.
	Budget   *budget.Budget
	Attempts *attempts.Runner
	Events   events.EventRecorder
	Clock    clock.PassiveClock
}

// SetupWithManager adds the controller to a manager. It reconciles the authorizations of the issuers that come from
// issuersReady, and the authorizations whose attempts have ended, from ended.
func (r *Reconciler) SetupWithManager(
	mgr manager.Manager, options controller.Options, issuersReady, ended <-chan event.GenericEvent,
) error {
	return ctrl.NewControllerManagedBy(mgr).Named("authorization").For(&v1alpha1.AcmeAuthorization{}).
		Watches(&v1alpha1.AcmeAccount{}, kube.OfEndedAccount(mgr.GetClient(), &v1alpha1.AcmeAuthorizationList{})).
		WatchesRawSource(source.Channel(ended, &handler.EnqueueRequestForObject{})).
		WatchesRawSource(source.Channel(issuersReady, kube.OfIssuer(mgr.GetClient(), &v1alpha1.AcmeAuthorizationList{}))).
		WithOptions(options).Complete(kube.RetryConflicts(r))
}

// Reconcile decides the next step of an authorization, and applies it.
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
	f, err := r.facts(ctx, authz)
	if err != nil {
		return ctrl.Result{}, err
	}
	s := decide(authz, f)
	if s.recheck {
		live, newer, err := r.liveFacts(ctx, authz, f)
		if err != nil {
			return ctrl.Result{}, err
		}
		if newer {
			f, s = live, decide(authz, live)
		}
	}
	if err := r.apply(ctx, authz, f, s); err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: s.again}, nil
}

// apply writes a step's status, and then starts an attempt and reports refusals and outcomes. After a failed write, the step is
// decided again from the same attempt.
func (r *Reconciler) apply(ctx context.Context, authz *v1alpha1.AcmeAuthorization, f facts, s step) error {
	decisions := kube.Decisions{Client: r.Client, Events: r.Events}
	if s.discard {
		r.Budget.Discarded("AcmeAuthorization")
		return decisions.Discard(ctx, authz)
	}
	changed := authz.DeepCopy()
	changed.Status = s.status
	if err := decisions.Write(ctx, changed, authz, authz.Spec.IssuerRef, s.refusals...); err != nil {
		return err
	}
	if s.start {
		r.Attempts.Start(f.issuer, f.account, changed, f.attempt.Number)
	}
	audit.Authorization(ctx, authz, s.refusals)
	if s.concluded {
		if changed.Status.State == acme.StateValid {
			audit.Proof(ctx, changed)
		}
		logOutcome(ctx, changed)
	}
	return nil
}

// logOutcome logs the outcome of an authorization's last attempt.
func logOutcome(ctx context.Context, authz *v1alpha1.AcmeAuthorization) {
	log := logf.FromContext(ctx).WithValues("identifier", authz.Authorized().Value,
		"challenge", authz.Spec.Response.Type, "account", authz.Spec.AccountRef.Name)
	if authz.Status.State == acme.StateValid {
		log.V(1).Info("validated")
		return
	}
	log.Info("validation failed", "problem", authz.Status.Problem.ACME().Error())
}
