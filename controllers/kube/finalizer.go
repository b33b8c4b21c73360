package kube

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// AddFinalizer puts the finalizer on an order that lacks it, so that it can't go before its revocation is in the CRL. The
// endpoint makes orders with it, which costs no write; others may not have.
func AddFinalizer(ctx context.Context, c client.Client, order *v1alpha1.AcmeOrder) error {
	return patchFinalizer(ctx, c, order, controllerutil.AddFinalizer)
}

// RemoveFinalizer lets an order go.
func RemoveFinalizer(ctx context.Context, c client.Client, order *v1alpha1.AcmeOrder) error {
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
