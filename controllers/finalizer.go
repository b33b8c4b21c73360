package controllers

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// keepForCRL puts the finalizer on an order that lacks it, so that it can't go before its revocation is in the CRL. The
// endpoint makes orders with it, which costs no write; others may not have.
func keepForCRL(ctx context.Context, c client.Client, order *v1alpha1.AcmeOrder) error {
	return patchFinalizer(ctx, c, order, controllerutil.AddFinalizer)
}

// dropFinalizer lets an order go.
func dropFinalizer(ctx context.Context, c client.Client, order *v1alpha1.AcmeOrder) error {
	return client.IgnoreNotFound(patchFinalizer(ctx, c, order, controllerutil.RemoveFinalizer))
}

func patchFinalizer(ctx context.Context, c client.Client, order *v1alpha1.AcmeOrder, change func(client.Object, string) bool) error {
	changed := order.DeepCopy()
	if !change(changed, v1alpha1.RevocationFinalizer) {
		return nil
	}
	// Finalizers are replaced as a list, so that nobody else's may be lost: only on the version that was read.
	return c.Patch(ctx, changed, client.MergeFromWithOptions(order, client.MergeFromWithOptimisticLock{}))
}

// letGo lets an order go that is being deleted and has no revocation that the CRL lacks. With its issuer deleted there is
// no CRL for it any more.
func (r *OrderReconciler) letGo(ctx context.Context, order *v1alpha1.AcmeOrder) error {
	if order.DeletionTimestamp == nil {
		return nil
	}
	if order.Status.RevokedAt == nil && !revocationPending(order) {
		return dropFinalizer(ctx, r.Client, order)
	}
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: order.Namespace, Name: order.Spec.IssuerRef.Name}, &v1alpha1.AcmeIssuer{})
	if apierrors.IsNotFound(err) {
		return dropFinalizer(ctx, r.Client, order)
	}
	return err // else the controller of revocation lists lets it go
}
