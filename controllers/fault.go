package controllers

import (
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// fault is why an issuer can't issue. A transient one is an error of the Kubernetes API, and says nothing of the issuer.
type fault struct {
	reason, message string
	transient       error
}

// invalidSpec is the fault of an issuer whose spec can't be compiled.
func invalidSpec(err error) *fault {
	return &fault{reason: v1alpha1.ReasonInvalidSpec, message: err.Error()}
}
