package issuer

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/kube"
	"github.com/acmeca/acmeca/internal/crlstore"
)

// +kubebuilder:rbac:groups=acmeca.dev,resources=acmeissuers,verbs=patch

const (
	// deletionPeriod is how often an issuer that is being deleted is reconciled.
	deletionPeriod = 200 * time.Millisecond
	// deletionTimeout bounds the wait for unfinished objects and for the last CRLs.
	deletionTimeout = 5 * time.Minute
)

// addFinalizer adds the finalizer to an issuer that lacks it, so that the issuer is kept until its last CRLs are published.
func (r *Reconciler) addFinalizer(ctx context.Context, object *v1alpha1.AcmeIssuer) (added bool, err error) {
	before := object.DeepCopy()
	if !controllerutil.AddFinalizer(object, v1alpha1.IssuerFinalizer) {
		return false, nil
	}
	return true, r.Client.Patch(ctx, object, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
}

// delete takes the steps of an issuer that is being deleted. Issuance stops, unfinished orders and authorizations end, and
// requested revocations are carried out. Then the last CRLs are published, or the issuer's objects are handed to the garbage
// collector if spec.deletionPolicy is Delete. Accounts stay in any case.
func (r *Reconciler) delete(ctx context.Context, object *v1alpha1.AcmeIssuer) (ctrl.Result, error) {
	key := client.ObjectKeyFromObject(object)
	if !controllerutil.ContainsFinalizer(object, v1alpha1.IssuerFinalizer) {
		return ctrl.Result{}, r.forget(ctx, key) // another controller's finalizer keeps it
	}
	issuer, err := r.startDeletion(ctx, object)
	if err != nil {
		return ctrl.Result{}, err
	}
	again := ctrl.Result{RequeueAfter: deletionPeriod}
	late := r.Clock.Since(object.DeletionTimestamp.Time) > deletionTimeout
	if left, err := r.unfinished(ctx, key, issuer != nil); err != nil || left && !late {
		return again, err
	}
	done, err := r.publishLast(ctx, object, issuer)
	switch {
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause): // no object can be created any more
	case err != nil && late:
		r.Events.Eventf(object, nil, "Warning", "LastCRLMissing", "Delete", "the issuer is gone without its last CRLs: %s",
			acme.Printable(err.Error(), 500))
	case err != nil || !done:
		return again, err
	}
	if err := r.TrustCopies.Withdraw(ctx, object); err != nil && !late {
		return again, err
	}
	before := object.DeepCopy()
	controllerutil.RemoveFinalizer(object, v1alpha1.IssuerFinalizer)
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, object, patch); client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{}, r.forget(ctx, key)
}

// publishLast publishes the issuer's last CRLs and retained certificates, or hands its objects to the garbage collector if
// spec.deletionPolicy is Delete. done reports that nothing is left to do.
func (r *Reconciler) publishLast(ctx context.Context, object *v1alpha1.AcmeIssuer, issuer *issuers.Issuer) (done bool, err error) {
	if object.Spec.DeletionPolicy == v1alpha1.DeletionDelete {
		return true, r.handOver(ctx, object, issuer)
	}
	if issuer == nil {
		return true, nil
	}
	if done, err = r.CRLs.PublishLast(ctx, client.ObjectKeyFromObject(object), issuer); err != nil || !done {
		return false, err
	}
	return true, r.Trust.PublishRetained(ctx, object, issuer)
}

// startDeletion marks an issuer as ending for the other controllers, and returns it. It returns nil if the issuer has no CA that
// can sign.
func (r *Reconciler) startDeletion(ctx context.Context, object *v1alpha1.AcmeIssuer) (*issuers.Issuer, error) {
	key := client.ObjectKeyFromObject(object)
	known, ok := r.Issuers.Loaded(key.Namespace, key.Name)
	switch {
	case ok && known.Ending:
		return known, nil
	case !ok && object.Status.IssuingCertificate == nil:
		r.wake(ctx, ctrl.Request{NamespacedName: key})
		return nil, nil // it has never issued
	case !ok:
		var err error
		if known, err = r.load(ctx, object, nil); err != nil {
			return nil, err
		}
	}
	issuer := *known
	issuer.Ending, issuer.Fault = true, &issuers.Fault{Reason: v1alpha1.ReasonDeleting, Message: "the issuer is being deleted"}
	base := object.DeepCopy()
	r.report(object, &issuer)
	if err := kube.WriteStatus(ctx, r.Client, object, base); err != nil {
		return nil, err
	}
	if issuer.Authority == nil {
		r.Issuers.Remove(key)
		r.wake(ctx, ctrl.Request{NamespacedName: key})
		return nil, nil
	}
	r.Issuers.Put(key, &issuer)
	r.wake(ctx, ctrl.Request{NamespacedName: key})
	return &issuer, nil
}

// unfinished reports whether an issuer has unfinished orders, pending authorizations, or, if it can sign, revocations to carry out.
func (r *Reconciler) unfinished(ctx context.Context, key client.ObjectKey, canSign bool) (bool, error) {
	of := []client.ListOption{client.InNamespace(key.Namespace), client.MatchingFields{kube.IndexUnfinishedOfIssuer: key.Name},
		client.UnsafeDisableDeepCopy}
	var orders v1alpha1.AcmeOrderList
	if err := r.Client.List(ctx, &orders, of...); err != nil {
		return false, err
	}
	if slices.ContainsFunc(orders.Items, func(o v1alpha1.AcmeOrder) bool { return !o.Finished() || canSign && o.RevocationPending() }) {
		return true, nil
	}
	var authorizations v1alpha1.AcmeAuthorizationList
	if err := r.Client.List(ctx, &authorizations, of...); err != nil {
		return false, err
	}
	return slices.ContainsFunc(authorizations.Items, func(a v1alpha1.AcmeAuthorization) bool { return a.Pending() }), nil
}

// forget removes a deleted issuer from memory, and its ClusterTrustBundle from the cluster.
func (r *Reconciler) forget(ctx context.Context, key client.ObjectKey) error {
	r.Issuers.Remove(key)
	r.Bound.forget(key.Namespace)
	r.Metrics.Forget(key)
	r.CRLs.Forget(key)
	r.CompromisedKeys.Forget(key)
	r.Authorities.Keys.Forget(key)
	r.wake(ctx, ctrl.Request{NamespacedName: key}) // unfinished objects have to end
	return r.Trust.Withdraw(ctx, key)
}

// handOver makes the issuer the owner of the objects that the operator created for it, so that Kubernetes deletes them after
// the issuer. The operator itself can't delete Secrets.
func (r *Reconciler) handOver(ctx context.Context, object *v1alpha1.AcmeIssuer, issuer *issuers.Issuer) error {
	for _, name := range r.Authorities.SecretNames(ctx, object) {
		if err := r.own(ctx, object, &corev1.Secret{}, name); err != nil {
			return err
		}
	}
	configMaps := []string{v1alpha1.TrustConfigMap(object.Name), v1alpha1.FormerConfigMap(object.Name),
		object.Name + issuers.CompromisedKeysSuffix}
	for _, crl := range issuer.CRLs() {
		head := &corev1.ConfigMap{}
		if err := r.own(ctx, object, head, v1alpha1.CRLConfigMap(object.Name, crl)); err != nil {
			return err
		}
		configMaps = append(configMaps, crlstore.PartsOf(head)...)
	}
	for _, name := range configMaps {
		if err := r.own(ctx, object, &corev1.ConfigMap{}, name); err != nil {
			return err
		}
	}
	return nil
}

// own makes the issuer the owner of an object, if the object carries the issuer's label.
func (r *Reconciler) own(ctx context.Context, issuer *v1alpha1.AcmeIssuer, object client.Object, name string) error {
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: issuer.Namespace, Name: name}, object)
	if apierrors.IsNotFound(err) || err == nil && object.GetLabels()[v1alpha1.IssuerLabel] != issuer.Name {
		return nil
	}
	if err != nil {
		return err
	}
	if err := controllerutil.SetOwnerReference(issuer, object, r.Client.Scheme()); err != nil {
		return err
	}
	if err := r.Client.Update(ctx, object); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("spec.deletionPolicy: %w", err)
	}
	return nil
}
