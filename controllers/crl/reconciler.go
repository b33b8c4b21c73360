package crl

import (
	"context"

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
	"github.com/acmeca/acmeca/controllers/kube"
)

// Reconciler keeps the CRL of each shard up to date.
type Reconciler struct {
	Publisher *Publisher
}

// SetupWithManager adds the controller to a manager. It reconciles the shards of the issuers that come from issuersReady.
func (r *Reconciler) SetupWithManager(mgr manager.Manager, concurrency int, issuersReady <-chan event.GenericEvent) error {
	return builder.TypedControllerManagedBy[issuers.ShardRequest](mgr).Named("revocationlist").
		Watches(&v1alpha1.AcmeOrder{}, handler.TypedEnqueueRequestsFromMapFunc(shardOfRevoked)).
		WatchesRawSource(source.TypedChannel(issuersReady, handler.TypedEnqueueRequestsFromMapFunc(r.shardsOf))).
		WithOptions(controller.TypedOptions[issuers.ShardRequest]{MaxConcurrentReconciles: concurrency}).Complete(kube.RetryConflicts(r))
}

// Reconcile publishes the next CRL of a shard once certificates are revoked, and before half of the last one's lifetime has passed.
func (r *Reconciler) Reconcile(ctx context.Context, request issuers.ShardRequest) (ctrl.Result, error) {
	issuer, ok := r.Publisher.Issuers.Loaded(request.Namespace, request.Issuer)
	if !ok {
		return ctrl.Result{}, nil // the issuer's becoming ready wakes its shards
	}
	authority := issuer.AuthorityOf(request.Shard)
	if authority == nil {
		return r.Publisher.abandoned(ctx, request)
	}
	result, warning, err := r.Publisher.publish(ctx, request, issuer, authority)
	if err != nil && !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
		warning = err.Error()
	}
	r.Publisher.Issuers.SetShardWarning(request, warning)
	return result, err
}

// shardOfRevoked maps a revoked order to its CRL shard.
func shardOfRevoked(_ context.Context, object client.Object) []issuers.ShardRequest {
	order := object.(*v1alpha1.AcmeOrder)
	if order.Status.RevokedAt == nil || order.Status.CRL == "" {
		return nil
	}
	return []issuers.ShardRequest{{Namespace: order.Namespace, Issuer: order.Spec.IssuerRef.Name, Shard: order.Status.CRL}}
}

// shardsOf maps an issuer to all its CRL shards.
func (r *Reconciler) shardsOf(_ context.Context, issuer client.Object) []issuers.ShardRequest {
	return r.Publisher.Issuers.ShardRequests(client.ObjectKeyFromObject(issuer))
}
