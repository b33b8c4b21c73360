package issuer

import (
	"context"
	"maps"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/issuers"
)

// countShards sets the number of CRL shards of each CA. A certificate names its shard for life, so shards stay after spec.crl.shards
// was lowered or removed. If the status was lost, or does not say the number yet, then the orders and the published CRLs do.
func (r *Reconciler) countShards(ctx context.Context, object *v1alpha1.AcmeIssuer, issuer *issuers.Issuer) error {
	issuer.CRLShards = map[string]int{}
	if issuer.Authority == nil {
		return nil
	}
	key := client.ObjectKeyFromObject(object)
	for i, authority := range issuer.Authorities() {
		name := v1alpha1.CAName(authority.Certificate())
		shards, ok := object.Status.ShardsOf(authority.Certificate())
		if !ok {
			var err error
			if shards, err = r.CRLs.CountShards(ctx, key, authority.Certificate()); err != nil {
				return err
			}
		}
		if i == 0 {
			shards = max(shards, object.Spec.CRL.Shards)
		}
		issuer.CRLShards[name] = max(shards, r.Issuers.NamedShards(key, name))
	}
	return nil
}

// reportShards returns the numbers of shards for the status.
func reportShards(issuer *issuers.Issuer) []v1alpha1.CRLShards {
	var all []v1alpha1.CRLShards
	for _, name := range slices.Sorted(maps.Keys(issuer.CRLShards)) {
		all = append(all, v1alpha1.CRLShards{CA: name, Shards: issuer.CRLShards[name]})
	}
	return all
}
