package order

import (
	"context"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/kube"
)

// SetupWithManager adds the controller to a manager. It reconciles the orders of the issuers that come from issuersReady, and
// the orders whose CAA checks have ended, from rechecked.
func (r *Reconciler) SetupWithManager(
	mgr manager.Manager, options controller.Options, issuersReady, rechecked <-chan event.GenericEvent,
) error {
	return ctrl.NewControllerManagedBy(mgr).Named("order").For(&v1alpha1.AcmeOrder{}, builder.WithPredicates(needsReconcile)).
		Watches(&v1alpha1.AcmeAuthorization{}, handler.EnqueueRequestsFromMapFunc(ordersWaitingFor(mgr.GetClient()))).
		Watches(&v1alpha1.AcmeAccount{}, kube.OfEndedAccount(mgr.GetClient(), &v1alpha1.AcmeOrderList{})).
		WatchesRawSource(source.Channel(rechecked, &handler.EnqueueRequestForObject{})).
		WatchesRawSource(source.Channel(issuersReady, kube.OfIssuer(mgr.GetClient(), &v1alpha1.AcmeOrderList{}))).
		WithOptions(options).Complete(kube.RetryConflicts(r))
}

// needsReconcile filters out finished orders without a pending request: nearly all orders after a start. An order that has just
// been finished passes, so that the state in memory is dropped.
var needsReconcile = predicate.Funcs{
	CreateFunc: func(e event.CreateEvent) bool { return orderNeedsReconcile(e.Object) },
	UpdateFunc: func(e event.UpdateEvent) bool {
		return orderNeedsReconcile(e.ObjectOld) || orderNeedsReconcile(e.ObjectNew)
	},
}

func orderNeedsReconcile(object client.Object) bool {
	order := object.(*v1alpha1.AcmeOrder)
	return !order.Finished() || order.RevocationPending() || order.DeletionTimestamp != nil || refusedButKept(order)
}

// ordersWaitingFor maps an authorization to the unfinished orders that name it; a pending authorization to none.
func ordersWaitingFor(reader client.Reader) handler.MapFunc {
	return func(ctx context.Context, object client.Object) []reconcile.Request {
		if object.(*v1alpha1.AcmeAuthorization).Status.State == acme.StatePending {
			return nil
		}
		return kube.RequestsFor(ctx, reader, &v1alpha1.AcmeOrderList{}, client.InNamespace(object.GetNamespace()),
			client.MatchingFields{kube.IndexAuthorizations: object.GetName()})
	}
}
