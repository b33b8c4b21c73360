package issuer

import (
	"context"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/issuers"
)

const (
	// maxChains and maxChainBytes bound status.chains. Beyond them, orders contain their chains.
	maxChains     = 64
	maxChainBytes = 128 << 10
	// chainsKept is for how long a chain is kept after the expiry of its CA, unless spec.retention.orders is longer.
	chainsKept = 720 * time.Hour
)

// keepChain adds the issuer's chain to status.chains, and removes the chains that no order needs any more. An issuer that was deleted
// and created again has the chains of its ConfigMap.
func (r *Reconciler) keepChain(ctx context.Context, object *v1alpha1.AcmeIssuer, issuer *issuers.Issuer) error {
	status := &object.Status
	if status.IssuingCertificate == nil && len(status.Chains) == 0 {
		former, err := r.Trust.retainedChains(ctx, object)
		if err != nil {
			return err
		}
		status.Chains = former
	}
	until := r.Clock.Now().Add(-max(chainsKept, object.Spec.Retention.Orders.Duration))
	status.Chains, issuer.ChainID = withChain(status.Chains, v1alpha1.NewChain(string(issuer.Chain)), until)
	return nil
}

// withChain returns the chains without those whose CA expired before a time, and with one more, and the id of that one. The id is "" if
// there is no room for it.
func withChain(chains []v1alpha1.Chain, added v1alpha1.Chain, until time.Time) ([]v1alpha1.Chain, string) {
	size := len(added.Certificates)
	kept := []v1alpha1.Chain{added}
	for _, chain := range chains {
		certificates, err := ca.ParseCertificates([]byte(chain.Certificates))
		if chain.ID == added.ID || err != nil || len(certificates) == 0 || certificates[0].NotAfter.Before(until) {
			continue
		}
		kept = append(kept, chain)
		size += len(chain.Certificates)
	}
	if added.Certificates == "" || len(kept) > maxChains || size > maxChainBytes {
		return kept[1:], ""
	}
	return kept, added.ID
}

// retainedChains returns the chains that PublishRetained stored for an issuer of the same name.
func (t Trust) retainedChains(ctx context.Context, object *v1alpha1.AcmeIssuer) ([]v1alpha1.Chain, error) {
	former := &corev1.ConfigMap{}
	err := t.Client.Get(ctx, client.ObjectKey{Namespace: object.Namespace, Name: v1alpha1.FormerConfigMap(object.Name)}, former)
	if err != nil || former.Labels[v1alpha1.IssuerLabel] != object.Name {
		return nil, client.IgnoreNotFound(err)
	}
	var chains []v1alpha1.Chain
	for _, key := range slices.Sorted(maps.Keys(former.Data)) {
		if chain, ok := v1alpha1.ChainInField(key, former.Data[key]); ok {
			chains = append(chains, chain)
		}
	}
	return chains, nil
}
