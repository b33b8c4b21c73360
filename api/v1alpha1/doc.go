// Package v1alpha1 contains the four kinds that are the whole state of acmeca: AcmeIssuer, AcmeAccount, AcmeOrder and
// AcmeAuthorization. spec is the request of a person or an ACME client; status is the decision of the controllers. The ACME server may
// write spec but never status. CEL rules on the types make fields immutable, so the API server enforces them for everyone.
//
// The package defines the format of stored objects and their names. It imports only api/acme and apimachinery.
//
// +kubebuilder:object:generate=true
// +groupName=acmeca.dev
package v1alpha1
