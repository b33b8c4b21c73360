package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
)

// AcmeAccountSpec is what a client asked for. What counts is in status: the controllers copy it there once they have
// verified the request that asks for it.
//
// +kubebuilder:validation:XValidation:rule="self.issuerRef == oldSelf.issuerRef",message="issuerRef is immutable"
// +kubebuilder:validation:XValidation:rule="self.jwk == oldSelf.jwk",message="jwk is immutable; a key change is asked for with keyChange"
// +kubebuilder:validation:XValidation:rule="has(self.registration) == has(oldSelf.registration) && (!has(self.registration) || self.registration == oldSelf.registration)",message="registration is immutable"
// +kubebuilder:validation:XValidation:rule="has(self.keyClaimFor) == has(oldSelf.keyClaimFor) && (!has(self.keyClaimFor) || self.keyClaimFor == oldSelf.keyClaimFor)",message="keyClaimFor is immutable"
// +kubebuilder:validation:XValidation:rule="has(self.registeredFrom) == has(oldSelf.registeredFrom) && (!has(self.registeredFrom) || self.registeredFrom == oldSelf.registeredFrom)",message="registeredFrom is immutable"
// +kubebuilder:validation:XValidation:rule="has(self.registration) != has(self.keyClaimFor)",message="exactly one of registration and keyClaimFor must be set"
type AcmeAccountSpec struct {
	// IssuerRef names the issuer.
	// +required
	IssuerRef ObjectRef `json:"issuerRef"`

	// JWK is the public key that the account was registered with, as JSON (RFC 7517). The object is named after its
	// digest, so that a key has one account in an issuer.
	// +required
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=2048
	JWK string `json:"jwk"`

	// KeyClaimFor marks the object as no account but a claim: its key is to become, or has become, the key of the account
	// named here (RFC 8555 section 7.3.5).
	// +optional
	// +kubebuilder:validation:MaxLength=253
	KeyClaimFor string `json:"keyClaimFor,omitempty"`

	// Registration is the client's newAccount request (RFC 8555 section 7.3).
	// +optional
	Registration *SignedRequest `json:"registration,omitempty"`

	// RegisteredFrom is the client's IPv4 address or IPv6 network of 64 bits, as the ACME server saw it, where the issuer
	// limits accounts by that.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	RegisteredFrom string `json:"registeredFrom,omitempty"`

	// Contact URLs, as sent.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	// +kubebuilder:validation:items:MaxLength=320
	Contact []string `json:"contact,omitempty"`

	// TermsOfServiceAgreed is whether the client agreed to the terms of service.
	// +optional
	TermsOfServiceAgreed bool `json:"termsOfServiceAgreed,omitempty"`

	// Update is the client's request to change contact or agreement (RFC 8555 section 7.3.2).
	// +optional
	Update *SignedRequest `json:"update,omitempty"`

	// KeyChange is the client's request to change its key (RFC 8555 section 7.3.5). A claim has the one that claims the key.
	// +optional
	KeyChange *SignedRequest `json:"keyChange,omitempty"`

	// Deactivation ends the account (RFC 8555 section 7.3.6).
	// +optional
	Deactivation *Deactivation `json:"deactivation,omitempty"`
}

// AcmeAccountStatus is what the controllers accepted.
//
// +kubebuilder:validation:XValidation:rule="!(oldSelf.state in ['invalid', 'deactivated', 'revoked']) || self.state == oldSelf.state",message="the account's state is final"
type AcmeAccountStatus struct {
	// State of the account (RFC 8555 section 7.1.6). It is pending until the registration has been verified, and invalid
	// if it was refused. A key claim's is "claim".
	// +optional
	// +kubebuilder:default=pending
	// +kubebuilder:validation:Enum=pending;valid;invalid;deactivated;revoked;claim
	State acme.State `json:"state,omitempty"`

	// JWK is the account's key as JSON (RFC 7517).
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	JWK string `json:"jwk,omitempty"`

	// Thumbprint of the key (RFC 7638).
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Thumbprint string `json:"thumbprint,omitempty"`

	// FormerThumbprints are those of the keys that the account had before, the newest first. Records for dns-persist-01
	// that name them still count.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=64
	FormerThumbprints []string `json:"formerThumbprints,omitempty"`

	// Contact URLs, as the client signed them.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	// +kubebuilder:validation:items:MaxLength=320
	Contact []string `json:"contact,omitempty"`

	// TermsOfServiceAgreed is the URL of the terms of service that the client agreed to.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	TermsOfServiceAgreed string `json:"termsOfServiceAgreed,omitempty"`

	// ExternalAccountKeyID is the id of the key that bound the account (RFC 8555 section 7.3.4).
	// +optional
	// +kubebuilder:validation:MaxLength=128
	ExternalAccountKeyID string `json:"externalAccountKeyID,omitempty"`

	// ExternalAccountPolicy is what the key that bound the account lets it have at most, as that said when it was bound.
	// +optional
	ExternalAccountPolicy *ExternalAccountPolicy `json:"externalAccountPolicy,omitempty"`

	// Problem says why the registration was refused.
	// +optional
	Problem *Problem `json:"problem,omitempty"`

	// Update is the newest update that was looked at.
	// +optional
	Update *HandledRequest `json:"update,omitempty"`

	// KeyChange is the newest key change that was looked at.
	// +optional
	KeyChange *HandledRequest `json:"keyChange,omitempty"`

	// Deactivation is the newest deactivation that was looked at.
	// +optional
	Deactivation *HandledRequest `json:"deactivation,omitempty"`

	// HandledRequests are ids of the updates and key changes that were carried out, the newest first. None of them is carried
	// out again, though its client's signature is as good as ever.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=128
	// +kubebuilder:validation:items:MaxLength=26
	HandledRequests []string `json:"handledRequests,omitempty"`

	// LastUsed is when the account last made an order or authorization, of those that have been removed since.
	// +optional
	LastUsed *metav1.Time `json:"lastUsed,omitempty"`

	// ObservedGeneration is the generation of the spec whose requests have been looked at.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
}

// ExternalAccountPolicy is what an account may have at most, beside what its issuer allows.
type ExternalAccountPolicy struct {
	// DNS lists domains, as an issuer's policy does. Where DNS or IPs has an entry, the account may have no other
	// identifiers than those of both.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=254
	DNS []string `json:"dns,omitempty"`

	// IPs lists address ranges as CIDRs.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	IPs []string `json:"ips,omitempty"`

	// Profiles lists the profiles that the account may order on; without any, all.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	Profiles []string `json:"profiles,omitempty"`
}

// HandledRequest is a request that was looked at, and what came of it. It keeps an old request from being judged again
// after the key that signed it was changed.
type HandledRequest struct {
	// Digest of the request: its SHA-256 in hexadecimal, or "unsigned" for a person's.
	// +required
	// +kubebuilder:validation:MaxLength=64
	Digest string `json:"digest"`

	// Problem says why it was refused; without one it was carried out.
	// +optional
	Problem *Problem `json:"problem,omitempty"`
}

// StateClaim is the state of an AcmeAccount that only claims a key for another one; no RFC knows it.
const StateClaim acme.State = "claim"

// AcmeAccount is a client's account. It outlives its issuer.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=acmeaccounts,shortName=acmeacct,categories=acme
// +kubebuilder:selectablefield:JSONPath=`.spec.issuerRef.name`
// +kubebuilder:selectablefield:JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="Issuer",type=string,JSONPath=`.spec.issuerRef.name`
// +kubebuilder:printcolumn:name="Contact",type=string,JSONPath=`.status.contact`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.problem.type`
// +kubebuilder:printcolumn:name="Binding",type=string,JSONPath=`.status.externalAccountKeyID`,priority=1
// +kubebuilder:printcolumn:name="Thumbprint",type=string,JSONPath=`.status.thumbprint`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type AcmeAccount struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what the client asked for.
	// +required
	Spec AcmeAccountSpec `json:"spec"`
	// Status is what was accepted.
	// +optional
	// +kubebuilder:default={state: pending}
	Status AcmeAccountStatus `json:"status,omitzero"`
}

// AcmeAccountList is a list of accounts.
//
// +kubebuilder:object:root=true
type AcmeAccountList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []AcmeAccount `json:"items"`
}
