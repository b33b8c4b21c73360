package issuer

import (
	"cmp"
	"context"
	"crypto/x509"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	certificatesv1ac "k8s.io/client-go/applyconfigurations/certificates/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/kube"
)

// +kubebuilder:rbac:groups="",resources=configmaps,verbs=patch
// +kubebuilder:rbac:groups=certificates.k8s.io,resources=clustertrustbundles,verbs=get;create;patch;delete
// +kubebuilder:rbac:groups=certificates.k8s.io,resources=signers,resourceNames=acmeca.dev/*,verbs=attest

// namespaceLabel holds, on a cluster-scoped object, the namespace of its issuer.
const namespaceLabel = "acmeca.dev/issuer-namespace"

// Trust publishes the roots of issuers: in a ConfigMap beside the issuer, and for the whole cluster in a ClusterTrustBundle if
// the issuer asks for one. Like the CA's Secrets the ConfigMap outlives the issuer, since issued certificates stay valid.
type Trust struct {
	// Client reads ConfigMaps and ClusterTrustBundles past every cache.
	Client client.Client
}

// Publish brings the ConfigMap and the ClusterTrustBundle up to date. If one can't be published, the issuer gets a warning. The
// error is one of the Kubernetes API.
func (t Trust) Publish(ctx context.Context, object *v1alpha1.AcmeIssuer, issuer *issuers.Issuer) error {
	if err := t.configMap(ctx, object, issuer); err != nil {
		return err
	}
	if !t.clusterTrustBundlesServed() {
		if object.Spec.Trust.ClusterTrustBundle {
			issuer.Warn("spec.trust.clusterTrustBundle: this API server doesn't serve ClusterTrustBundles (certificates.k8s.io/v1)")
		}
		return nil
	}
	if !object.Spec.Trust.ClusterTrustBundle {
		return t.removeClusterTrustBundle(ctx, client.ObjectKeyFromObject(object))
	}
	return t.clusterTrustBundle(ctx, object, issuer)
}

// Withdraw deletes the ClusterTrustBundle of a deleted issuer. Objects in its namespace stay.
func (t Trust) Withdraw(ctx context.Context, issuer client.ObjectKey) error {
	if !t.clusterTrustBundlesServed() {
		return nil
	}
	return t.removeClusterTrustBundle(ctx, issuer)
}

func (t Trust) configMap(ctx context.Context, object *v1alpha1.AcmeIssuer, issuer *issuers.Issuer) error {
	name := v1alpha1.TrustConfigMap(object.Name)
	there := &corev1.ConfigMap{}
	err := t.Client.Get(ctx, client.ObjectKey{Namespace: object.Namespace, Name: name}, there)
	switch {
	case client.IgnoreNotFound(err) != nil:
		return err
	case err == nil && there.Labels[v1alpha1.IssuerLabel] != object.Name:
		issuer.Warn("the roots can't be published: the ConfigMap %q belongs to somebody else (it lacks the label %s: %s)", name, v1alpha1.IssuerLabel, object.Name)
		return nil
	}
	crls, err := t.crlFile(ctx, object, issuer)
	if err != nil {
		return err
	}
	data := map[string]string{v1alpha1.TrustField: string(issuer.Bundle)}
	if crls = cmp.Or(crls, there.Data[v1alpha1.CRLsField]); crls != "" {
		data[v1alpha1.CRLsField] = crls
	}
	if there.Data[v1alpha1.TrustField] == data[v1alpha1.TrustField] && there.Data[v1alpha1.CRLsField] == data[v1alpha1.CRLsField] {
		return nil
	}
	return t.Client.Apply(ctx, corev1ac.ConfigMap(name, object.Namespace).
		WithLabels(map[string]string{v1alpha1.IssuerLabel: object.Name}).WithData(data), applyOptions...)
}

// PublishRetained stores the certificates that the ACME server keeps serving after the issuer is deleted.
func (t Trust) PublishRetained(ctx context.Context, object *v1alpha1.AcmeIssuer, issuer *issuers.Issuer) error {
	var authorities []*x509.Certificate
	for _, authority := range issuer.Authorities() {
		authorities = append(authorities, authority.Certificate())
	}
	data := map[string]string{
		v1alpha1.TrustField: string(issuer.Bundle), v1alpha1.AuthoritiesField: string(ca.EncodeCertificates(authorities...)),
	}
	for _, chain := range object.Status.Chains {
		data[v1alpha1.ChainField(chain.ID)] = chain.Certificates
	}
	return t.Client.Apply(ctx, corev1ac.ConfigMap(v1alpha1.FormerConfigMap(object.Name), object.Namespace).
		WithLabels(map[string]string{v1alpha1.IssuerLabel: object.Name}).WithData(data), applyOptions...)
}

func (t Trust) clusterTrustBundle(ctx context.Context, object *v1alpha1.AcmeIssuer, issuer *issuers.Issuer) error {
	name := v1alpha1.TrustBundle(object.Namespace, object.Name)
	there := &certificatesv1.ClusterTrustBundle{}
	err := t.Client.Get(ctx, client.ObjectKey{Name: name}, there)
	switch {
	case client.IgnoreNotFound(err) != nil:
		return err
	case err == nil && there.Spec.TrustBundle == string(issuer.Bundle):
		return nil
	}
	err = t.Client.Apply(ctx, certificatesv1ac.ClusterTrustBundle(name).
		WithLabels(map[string]string{v1alpha1.IssuerLabel: object.Name, namespaceLabel: object.Namespace}).
		WithSpec(certificatesv1ac.ClusterTrustBundleSpec().
			WithSignerName(v1alpha1.TrustSigner(object.Namespace, object.Name)).
			WithTrustBundle(string(issuer.Bundle))), applyOptions...)
	if kube.IsRefusal(err) {
		issuer.Warn("spec.trust.clusterTrustBundle: %v", err)
		return nil
	}
	return err
}

func (t Trust) removeClusterTrustBundle(ctx context.Context, issuer client.ObjectKey) error {
	bundle := &certificatesv1.ClusterTrustBundle{}
	err := t.Client.Get(ctx, client.ObjectKey{Name: v1alpha1.TrustBundle(issuer.Namespace, issuer.Name)}, bundle)
	if err != nil || bundle.Labels[namespaceLabel] != issuer.Namespace {
		return client.IgnoreNotFound(err)
	}
	return client.IgnoreNotFound(t.Client.Delete(ctx, bundle, client.Preconditions{UID: &bundle.UID}))
}

func (t Trust) clusterTrustBundlesServed() bool {
	kind := certificatesv1.SchemeGroupVersion.WithKind("ClusterTrustBundle")
	_, err := t.Client.RESTMapper().RESTMapping(kind.GroupKind(), kind.Version)
	return !meta.IsNoMatchError(err)
}

// applyOptions take over the applied fields from any other writer.
var applyOptions = []client.ApplyOption{client.FieldOwner("acmeca-controller"), client.ForceOwnership}
