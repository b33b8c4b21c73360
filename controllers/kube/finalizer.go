package kube

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// AddFinalizer adds the finalizer to an order that lacks it, so that the order is kept until its revocation is in the CRL. The
// ACME server and kubectl acme add the finalizer when they request the revocation, which costs no write.
func AddFinalizer(ctx context.Context, c client.Client, order *v1alpha1.AcmeOrder) error {
	return patchFinalizer(ctx, c, order, controllerutil.AddFinalizer)
}

// RemoveFinalizer removes the finalizer from an order, if the order has it.
func RemoveFinalizer(ctx context.Context, c client.Client, order *v1alpha1.AcmeOrder) error {
	return client.IgnoreNotFound(patchFinalizer(ctx, c, order, controllerutil.RemoveFinalizer))
}

// patchFinalizer patches the finalizers of the version that was read: they are replaced as a list, and no other finalizer may
// be lost.
func patchFinalizer(ctx context.Context, c client.Client, order *v1alpha1.AcmeOrder, change func(client.Object, string) bool) error {
	changed := order.DeepCopy()
	if !change(changed, v1alpha1.RevocationFinalizer) {
		return nil
	}
	return c.Patch(ctx, changed, client.MergeFromWithOptions(order, client.MergeFromWithOptimisticLock{}))
}
