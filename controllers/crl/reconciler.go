package crl

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/keyservice"
	"github.com/acmeca/acmeca/controllers/kube"
)

// Reconciler keeps the CRLs of each issuer up to date.
type Reconciler struct {
	Publisher *Publisher
}

// SetupWithManager adds the controller to a manager. It reconciles the CRLs of the issuers that come from issuersReady.
func (r *Reconciler) SetupWithManager(mgr manager.Manager, concurrency int, issuersReady <-chan event.GenericEvent) error {
	return builder.TypedControllerManagedBy[issuers.CRLRequest](mgr).Named("revocationlist").
		Watches(&v1alpha1.AcmeOrder{}, handler.TypedEnqueueRequestsFromMapFunc(r.crlsOfRevoked)).
		WatchesRawSource(source.TypedChannel(issuersReady, handler.TypedEnqueueRequestsFromMapFunc(r.crlsOf))).
		WithOptions(controller.TypedOptions[issuers.CRLRequest]{MaxConcurrentReconciles: concurrency}).Complete(kube.RetryConflicts(r))
}

// keyRetry is when a CRL is signed again whose key is in a key service that does not sign.
const keyRetry = 5 * time.Second

// Reconcile publishes the next CRL once certificates are revoked, and before half of the last one's lifetime has passed.
func (r *Reconciler) Reconcile(ctx context.Context, request issuers.CRLRequest) (ctrl.Result, error) {
	issuer, ok := r.Publisher.Issuers.Loaded(request.Namespace, request.Issuer)
	if !ok {
		return ctrl.Result{}, nil // the issuer's becoming ready wakes its CRLs
	}
	authority := issuer.AuthorityOf(request.Name)
	root, isRoot := issuer.RootOf(request.Name)
	var result outcome
	var err error
	switch {
	case authority != nil:
		result, err = r.Publisher.publish(ctx, request, issuer, authority)
	case isRoot:
		result, err = r.Publisher.watch(ctx, request, root.Certificate)
	default:
		return r.Publisher.abandoned(ctx, request)
	}
	warning := result.warning
	if failure, ok := errors.AsType[*keyservice.Error](err); ok {
		result.wait, warning, err = keyRetry, "the next CRL waits for the CA's key: "+failure.Message, nil
	}
	if err != nil && !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
		warning = err.Error()
	}
	r.Publisher.Issuers.SetCRLWarning(request, warning)
	return ctrl.Result{RequeueAfter: result.wait}, err
}

// crlsOfRevoked maps a revoked order to the CRLs that have to list its certificate, and an order that is not revoked to none. It notes
// the shard that the certificate names.
func (r *Reconciler) crlsOfRevoked(_ context.Context, object client.Object) []issuers.CRLRequest {
	order := object.(*v1alpha1.AcmeOrder)
	if order.Status.CRL == "" {
		return nil
	}
	request := issuers.CRLRequest{Namespace: order.Namespace, Issuer: order.Spec.IssuerRef.Name, Name: order.Status.CRL}
	r.Publisher.Issuers.NoteCRL(request)
	switch {
	case order.Status.RevokedAt == nil:
		return nil
	case request.IsComplete():
		return []issuers.CRLRequest{request}
	}
	return []issuers.CRLRequest{request, request.Complete()}
}

// crlsOf maps an issuer to all its CRLs.
func (r *Reconciler) crlsOf(_ context.Context, issuer client.Object) []issuers.CRLRequest {
	return r.Publisher.Issuers.CRLRequests(client.ObjectKeyFromObject(issuer))
}
