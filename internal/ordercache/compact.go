package ordercache

import (
	"unique"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// Compact drops the fields of an order that no cache holds, and interns strings that many orders share. A cached order lacks:
//
//   - managed fields and the type;
//   - of a finished order: the CSR, the signed finalize request, the certificate and its chain, and the key's fingerprint unless the key is
//     compromised;
//   - of a valid order: conditions and status.expires.
//
// A finished order has status.certificateID, also if it is not stored.
//
// Readers that need a dropped field read the order from the API server. Compact does nothing to an order that it compacted
// before, so a list that is compacted page by page costs nothing again when an informer stores it.
func Compact(order *v1alpha1.AcmeOrder) {
	if isCompact(order) {
		return
	}
	dropFields(order)
	internStrings(order)
}

// isCompact reports whether Compact was applied to a valid order. Every valid order has a certificate until then.
func isCompact(order *v1alpha1.AcmeOrder) bool {
	spec, status := &order.Spec, &order.Status
	return status.State == acme.StateValid && status.Certificate == "" && status.Conditions == nil && status.Expires == nil &&
		spec.CSR == "" && (spec.Finalization == nil || spec.Finalization.Request == (v1alpha1.SignedRequest{})) &&
		order.ManagedFields == nil && order.TypeMeta == (metav1.TypeMeta{})
}

func dropFields(order *v1alpha1.AcmeOrder) {
	order.TypeMeta, order.ManagedFields = metav1.TypeMeta{}, nil // listed orders have a type, watched ones do not
	if !order.Finished() {
		return
	}
	order.Spec.CSR = ""
	if order.Spec.Finalization != nil {
		order.Spec.Finalization = &v1alpha1.Finalization{Time: order.Spec.Finalization.Time}
	}
	order.Status.CertificateID = order.CertificateID()
	order.Status.Certificate, order.Status.Chain = "", ""
	if order.Status.State == acme.StateValid {
		order.Status.Conditions, order.Status.Expires = nil, nil
	}
	if order.CompromisedKey() == "" {
		order.Status.KeyFingerprint = ""
	}
}

func internStrings(order *v1alpha1.AcmeOrder) {
	intern(&order.Namespace)
	intern(&order.Spec.IssuerRef.Name)
	intern(&order.Spec.AccountRef.Name)
	intern(&order.Spec.Profile)
	intern(&order.Status.CRL)
	intern((*string)(&order.Status.State))
	for i := range order.Finalizers {
		intern(&order.Finalizers[i])
	}
	for i := range order.Spec.Identifiers {
		intern((*string)(&order.Spec.Identifiers[i].Type))
	}
}

// intern replaces a string by the copy that all orders share.
func intern(text *string) {
	if *text != "" {
		*text = unique.Make(*text).Value()
	}
}
