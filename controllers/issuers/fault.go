package issuers

import (
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// Fault is why an issuer can't issue. A transient one is an error of the Kubernetes API, and says nothing of the issuer.
type Fault struct {
	Reason, Message string
	Transient       error
}

// InvalidSpec is the fault of an issuer whose spec can't be compiled.
func InvalidSpec(err error) *Fault {
	return &Fault{Reason: v1alpha1.ReasonInvalidSpec, Message: err.Error()}
}
