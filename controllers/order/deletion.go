package order

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/kube"
)

// removeFinalizer removes the finalizer of an order that is being deleted, unless the CRL still lacks its revocation. Once the
// issuer is deleted, there is no CRL for the order.
func (r *Reconciler) removeFinalizer(ctx context.Context, order *v1alpha1.AcmeOrder) error {
	if order.DeletionTimestamp == nil {
		return nil
	}
	if order.Status.RevokedAt == nil && !kube.RevocationPending(order) {
		return kube.RemoveFinalizer(ctx, r.Client, order)
	}
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: order.Namespace, Name: order.Spec.IssuerRef.Name}, &v1alpha1.AcmeIssuer{})
	if apierrors.IsNotFound(err) {
		return kube.RemoveFinalizer(ctx, r.Client, order)
	}
	return err // otherwise the CRL publisher removes the finalizer
}
