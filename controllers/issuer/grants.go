package issuer

import (
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/internal/policy/grants"
)

// announceGrants records an Event for each grant that was taken back, in whole or in part. Its unfinished orders end; the Event
// names the command that revokes the certificates.
func (r *Reconciler) announceGrants(object *v1alpha1.AcmeIssuer, known *issuers.Issuer) {
	if known == nil {
		return
	}
	for _, name := range grants.Narrowed(known.Spec.Grants, object.Spec.Grants) {
		r.Events.Eventf(object, nil, "Normal", "GrantTakenBack", "Reconcile", "%s", acme.Printable("the grant "+name+
			" covers less than before, or was removed. Its orders that are not finished end, unless it still covers them. Issued certificates"+
			" stay valid; revoke them with: kubectl acme revoke --granted-by "+name+" "+object.Name+" -n "+object.Namespace, maxEvent))
	}
}
