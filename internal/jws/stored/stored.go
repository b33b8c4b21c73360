// Package stored converts between signed requests and the form in which objects store them (v1alpha1.SignedRequest). Both
// halves use it. The conversion is here because package jws does not know Kubernetes and the kinds do not know JOSE.
package stored

import (
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws"
)

// Parse reads a stored request. The caller must verify the message. The problem is one of jws.FromParts.
func Parse(request *v1alpha1.SignedRequest) (*jws.Message, *acme.Problem) {
	protected, payload := request.Parts()
	return jws.FromParts(protected, payload, request.Signature)
}

// Request returns the stored form of a message.
func Request(message *jws.Message) *v1alpha1.SignedRequest {
	return v1alpha1.NewSignedRequest(message.Protected, message.Payload, message.Signature)
}
