package issuers

import (
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// Fault is the reason why an issuer can't issue. A transient fault is an error of the Kubernetes API, and says nothing about
// the issuer.
type Fault struct {
	Reason, Message string
	Transient       error
	// Pending is set while the CA's key is being generated, which needs no person.
	Pending bool
}

// InvalidSpec returns the fault of an issuer whose spec can't be compiled.
func InvalidSpec(err error) *Fault {
	return &Fault{Reason: v1alpha1.ReasonInvalidSpec, Message: err.Error()}
}
