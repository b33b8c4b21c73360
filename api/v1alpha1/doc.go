// Package v1alpha1 holds the four kinds that are the whole state of acmeca: AcmeIssuer, AcmeAccount, AcmeOrder and
// AcmeAuthorization. In each, spec is what a person or an ACME client asked for, and status is what the controllers
// decided: the ACME server may write the one and never the other. The rules that keep a field as it was set are CEL
// rules on the types, so that the API server holds them against everyone.
//
// The package knows the wire format and nothing of how a request is verified, validated or issued.
//
// +kubebuilder:object:generate=true
// +groupName=acmeca.dev
package v1alpha1
