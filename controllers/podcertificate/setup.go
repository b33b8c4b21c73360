package podcertificate

import (
	"context"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
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

	"github.com/acmeca/acmeca/controllers/kube"
)

// Supported reports whether the API server has PodCertificateRequests of certificates.k8s.io/v1, which Kubernetes has from 1.37.
func Supported(mapper meta.RESTMapper) (bool, error) {
	kind := certificatesv1.SchemeGroupVersion.WithKind("PodCertificateRequest")
	_, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) {
		return false, nil
	}
	return err == nil, err
}

// SetupWithManager adds the controller to a manager. It reconciles the pending requests of the issuers that come from issuersReady,
// and those in the namespace of a Service that changes.
func (r *Reconciler) SetupWithManager(mgr manager.Manager, options controller.Options, issuersReady <-chan event.GenericEvent) error {
	ofService := func(ctx context.Context, service client.Object) []reconcile.Request {
		return r.pending(ctx, func(types.NamespacedName) bool { return true }, client.InNamespace(service.GetNamespace()))
	}
	ofIssuer := func(ctx context.Context, issuer client.Object) []reconcile.Request {
		ready := client.ObjectKeyFromObject(issuer)
		return r.pending(ctx, func(key types.NamespacedName) bool { return key == ready })
	}
	return ctrl.NewControllerManagedBy(mgr).Named("podcertificate").
		For(&certificatesv1.PodCertificateRequest{}, builder.WithPredicates(predicate.NewPredicateFuncs(isPending))).
		WatchesMetadata(&corev1.Service{}, handler.EnqueueRequestsFromMapFunc(ofService)).
		WatchesRawSource(source.Channel(issuersReady, handler.EnqueueRequestsFromMapFunc(ofIssuer))).
		WithOptions(options).Complete(kube.RetryConflicts(r))
}

// isPending reports whether a request waits for an issuer's answer.
func isPending(object client.Object) bool {
	_, ours := issuerOf(object.(*certificatesv1.PodCertificateRequest))
	return ours
}

// pending lists the requests that wait for the answer of selected issuers.
func (r *Reconciler) pending(
	ctx context.Context, selects func(issuer types.NamespacedName) bool, options ...client.ListOption,
) []reconcile.Request {
	var list certificatesv1.PodCertificateRequestList
	if err := r.Client.List(ctx, &list, append(options, client.UnsafeDisableDeepCopy)...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "can't list the requests of Pods")
		return nil
	}
	var requests []reconcile.Request
	for i := range list.Items {
		if issuer, ours := issuerOf(&list.Items[i]); ours && selects(issuer) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
	}
	return requests
}
