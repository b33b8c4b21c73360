// Package account holds the controller of accounts: it verifies registrations, updates, key changes, deactivations and external
// account bindings, and writes the accepted account into status.
package account

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/audit"
	"github.com/acmeca/acmeca/controllers/budget"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/kube"
)

// Reconciler accepts accounts: it verifies the requests that clients signed, and copies their contents into status.
type Reconciler struct {
	// Client reads accounts from the cache, and Secrets past it.
	Client client.Client
	// Live reads accounts past the cache.
	Live    client.Reader
	Issuers *issuers.Registry
	// Budget says whether the issuer's objects use too many bytes; nil for no ceilings.
	Budget *budget.Budget
	Events events.EventRecorder
	Clock  clock.PassiveClock
}

// SetupWithManager adds the controller to a manager. It reconciles the accounts of the issuers that come from issuersReady.
func (r *Reconciler) SetupWithManager(mgr manager.Manager, options controller.Options, issuersReady <-chan event.GenericEvent) error {
	return ctrl.NewControllerManagedBy(mgr).Named("account").For(&v1alpha1.AcmeAccount{}).
		Watches(&v1alpha1.AcmeAccount{}, handler.EnqueueRequestsFromMapFunc(r.claimsOf)).
		WatchesRawSource(source.Channel(issuersReady, kube.OfIssuer(mgr.GetClient(), &v1alpha1.AcmeAccountList{}))).
		WithOptions(options).Complete(kube.RetryConflicts(r))
}

// claimsOf maps an account that is not pending to the claims for it.
func (r *Reconciler) claimsOf(ctx context.Context, object client.Object) []reconcile.Request {
	account := object.(*v1alpha1.AcmeAccount)
	if account.Spec.KeyClaimFor != "" || account.Status.State == acme.StatePending {
		return nil
	}
	return kube.RequestsFor(ctx, r.Client, &v1alpha1.AcmeAccountList{}, client.InNamespace(account.Namespace),
		client.MatchingFields{kube.IndexKeyClaims: account.Name})
}

// Reconcile decides the next step of an account or claim, and applies it.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	account := &v1alpha1.AcmeAccount{}
	if err := r.Client.Get(ctx, request.NamespacedName, account); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	f, err := r.facts(ctx, account)
	if err != nil {
		return ctrl.Result{}, err
	}
	s := decide(account, f)
	if err := r.apply(ctx, account, s); err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: s.again}, nil
}

// apply uses up an external account key, writes a step's status, and reports the decision.
func (r *Reconciler) apply(ctx context.Context, account *v1alpha1.AcmeAccount, s step) error {
	decisions := kube.Decisions{Client: r.Client, Events: r.Events}
	if s.discard {
		return decisions.Discard(ctx, account)
	}
	if s.bind != nil {
		if err := r.useUp(ctx, s.bind, account); err != nil {
			return err
		}
	}
	changed := account.DeepCopy()
	changed.Status = s.status
	if err := decisions.Write(ctx, changed, account, account.Spec.IssuerRef, s.refusals...); err != nil {
		return err
	}
	audit.Account(ctx, account, changed, s.refusals)
	return nil
}

// useUp binds a single-use external account key to an account. The annotation on the Secret is the commit point: it is written
// under the Secret's resourceVersion, so only one of two accounts gets the key. After a conflict the key is found used.
func (r *Reconciler) useUp(ctx context.Context, secret *corev1.Secret, account *v1alpha1.AcmeAccount) error {
	used := secret.DeepCopy()
	kube.Annotate(used, v1alpha1.BoundAccountAnnotation, account.Name)
	return r.Client.Update(ctx, used)
}
