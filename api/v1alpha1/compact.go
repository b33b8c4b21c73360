package v1alpha1

import (
	"unique"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
)

// Compact drops from an order what a cache of many needn't hold: of a finished one, the certificate and what brought it
// about, which is most of it, and is read past the cache by who needs it again. Text that many orders share is held once.
func (o *AcmeOrder) Compact() {
	o.TypeMeta, o.ManagedFields = metav1.TypeMeta{}, nil // the type is there in lists, but not in watches
	share(&o.Namespace)
	share(&o.Spec.IssuerRef.Name)
	share(&o.Spec.AccountRef.Name)
	share(&o.Spec.Profile)
	share(&o.Status.CRL)
	share((*string)(&o.Status.State))
	for i := range o.Finalizers {
		share(&o.Finalizers[i])
	}
	for i := range o.Spec.Identifiers {
		share((*string)(&o.Spec.Identifiers[i].Type))
	}
	if o.Status.State != acme.StateValid && o.Status.State != acme.StateInvalid {
		return
	}
	o.Spec.CSR = ""
	if o.Spec.Finalization != nil {
		o.Spec.Finalization = &Finalization{Time: o.Spec.Finalization.Time}
	}
	o.Status.Certificate = ""
	if o.Status.State == acme.StateValid {
		o.Status.Conditions, o.Status.Expires = nil, nil
	}
	if o.CompromisedKey() == "" {
		o.Status.KeyFingerprint = ""
	}
}

// share replaces a text by the one copy of it that is held.
func share(text *string) {
	if *text != "" {
		*text = unique.Make(*text).Value()
	}
}
