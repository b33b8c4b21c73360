package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
)

// AcmeAccountSpec is the request of an ACME client. The controllers verify each signed request and copy its contents to
// status. Only status takes effect.
//
// +kubebuilder:validation:XValidation:rule="self.issuerRef == oldSelf.issuerRef",message="issuerRef is immutable"
// +kubebuilder:validation:XValidation:rule="self.jwk == oldSelf.jwk",message="jwk is immutable; use keyChange to change the key"
// +kubebuilder:validation:XValidation:rule="has(self.registration) == has(oldSelf.registration) && (!has(self.registration) || self.registration == oldSelf.registration)",message="registration is immutable"
// +kubebuilder:validation:XValidation:rule="has(self.keyClaimFor) == has(oldSelf.keyClaimFor) && (!has(self.keyClaimFor) || self.keyClaimFor == oldSelf.keyClaimFor)",message="keyClaimFor is immutable"
// +kubebuilder:validation:XValidation:rule="has(self.registeredFrom) == has(oldSelf.registeredFrom) && (!has(self.registeredFrom) || self.registeredFrom == oldSelf.registeredFrom)",message="registeredFrom is immutable"
// +kubebuilder:validation:XValidation:rule="has(self.registration) != has(self.keyClaimFor)",message="exactly one of registration and keyClaimFor must be set"
type AcmeAccountSpec struct {
	// issuerRef names the AcmeIssuer of the account.
	// +required
	IssuerRef ObjectRef `json:"issuerRef"`

	// jwk is the public key at registration, as JSON (RFC 7517). metadata.name is derived from its digest, so a key has one
	// account per issuer.
	// +required
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=2048
	JWK string `json:"jwk"`

	// keyClaimFor marks this object as a key claim, not an account. It names the AcmeAccount that changes, or changed, its
	// key to jwk (RFC 8555 section 7.3.5).
	// +optional
	// +kubebuilder:validation:MaxLength=253
	KeyClaimFor string `json:"keyClaimFor,omitempty"`

	// registration is the signed newAccount request of the client (RFC 8555 section 7.3). Its payload has at most 12288
	// characters.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!has(self.payload) || self.payload.size() <= 12288",message="must be at most 12288 characters",fieldPath=".payload"
	Registration *SignedRequest `json:"registration,omitempty"`

	// registeredFrom is the client's IPv4 address or IPv6 /64 network, as the ACME server saw it. It is set if the issuer
	// limits new accounts by address (spec.rateLimits.newAccounts).
	// +optional
	// +kubebuilder:validation:MaxLength=64
	RegisteredFrom string `json:"registeredFrom,omitempty"`

	// contact lists contact URLs, such as "mailto:admin@example.com", as the client sent them.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	// +kubebuilder:validation:items:MaxLength=320
	Contact []string `json:"contact,omitempty"`

	// termsOfServiceAgreed is true if the client agreed to the terms of service.
	// +optional
	TermsOfServiceAgreed bool `json:"termsOfServiceAgreed,omitempty"`

	// update is the signed request of the client to change contact or agree to terms (RFC 8555 section 7.3.2). Its payload
	// has at most 12288 characters.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!has(self.payload) || self.payload.size() <= 12288",message="must be at most 12288 characters",fieldPath=".payload"
	Update *SignedRequest `json:"update,omitempty"`

	// keyChange is the signed request of the client to change its key (RFC 8555 section 7.3.5). In a key claim it is the
	// request that claims the key. Its payload has at most 6144 characters.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!has(self.payload) || self.payload.size() <= 6144",message="must be at most 6144 characters",fieldPath=".payload"
	KeyChange *SignedRequest `json:"keyChange,omitempty"`

	// deactivation ends the account (RFC 8555 section 7.3.6).
	// +optional
	Deactivation *Deactivation `json:"deactivation,omitempty"`
}

// AcmeAccountStatus is the verified state of the account.
//
// +kubebuilder:validation:XValidation:rule="!(oldSelf.state in ['invalid', 'deactivated', 'revoked']) || self.state == oldSelf.state",message="the account's state is final"
type AcmeAccountStatus struct {
	// state of the account (RFC 8555 section 7.1.6). It is "pending" until the registration is verified, and "invalid" if the
	// registration is refused. The state of a key claim is "claim".
	// +optional
	// +kubebuilder:default=pending
	// +kubebuilder:validation:Enum=pending;valid;invalid;deactivated;revoked;claim
	State acme.State `json:"state,omitempty"`

	// jwk is the account's current public key, as JSON (RFC 7517).
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	JWK string `json:"jwk,omitempty"`

	// thumbprint is the SHA-256 thumbprint of jwk (RFC 7638), base64url.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Thumbprint string `json:"thumbprint,omitempty"`

	// formerThumbprints lists the thumbprints of previous keys, newest first. dns-persist-01 records that name one of them
	// remain valid.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=64
	FormerThumbprints []string `json:"formerThumbprints,omitempty"`

	// contact lists the contact URLs that the client signed.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	// +kubebuilder:validation:items:MaxLength=320
	Contact []string `json:"contact,omitempty"`

	// termsOfServiceAgreed is the URL of the terms of service that the client agreed to.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	TermsOfServiceAgreed string `json:"termsOfServiceAgreed,omitempty"`

	// externalAccountKeyID is the ID of the external account key that the account is bound to (RFC 8555 section 7.3.4).
	// +optional
	// +kubebuilder:validation:MaxLength=128
	ExternalAccountKeyID string `json:"externalAccountKeyID,omitempty"`

	// externalAccountPolicy contains the limits set by the external account key, copied at registration.
	// +optional
	ExternalAccountPolicy *ExternalAccountPolicy `json:"externalAccountPolicy,omitempty"`

	// problem is the reason why the registration was refused.
	// +optional
	Problem *Problem `json:"problem,omitempty"`

	// update is the result of the newest update request.
	// +optional
	Update *HandledRequest `json:"update,omitempty"`

	// keyChange is the result of the newest key change request.
	// +optional
	KeyChange *HandledRequest `json:"keyChange,omitempty"`

	// deactivation is the result of the newest deactivation request.
	// +optional
	Deactivation *HandledRequest `json:"deactivation,omitempty"`

	// handledRequests lists the IDs of the updates and key changes that were carried out, newest first. The controllers never
	// carry out one of them again, even if its signature is valid.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=128
	// +kubebuilder:validation:items:MaxLength=26
	HandledRequests []string `json:"handledRequests,omitempty"`

	// lastUsed is the creation time of the newest order or authorization of the account that was removed since.
	// +optional
	LastUsed *metav1.Time `json:"lastUsed,omitempty"`

	// observedGeneration is the metadata.generation of the spec that this status reflects.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
}

// ExternalAccountPolicy limits an account further than its issuer's policy does.
type ExternalAccountPolicy struct {
	// dns lists allowed domains, in the form of an issuer's spec.policy.dns.allow. If dns or ips has an entry, only
	// identifiers in one of the two lists are allowed.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=254
	DNS []string `json:"dns,omitempty"`

	// ips lists allowed address ranges as CIDRs.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	IPs []string `json:"ips,omitempty"`

	// profiles lists the profiles that the account may order. If empty, all profiles are allowed.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	Profiles []string `json:"profiles,omitempty"`
}

// HandledRequest is the result of a request. It prevents that an old request is decided again after the key that signed it
// was changed.
type HandledRequest struct {
	// digest is the SHA-256 of the signed request in hexadecimal, or "unsigned" for a request that a person made through the
	// Kubernetes API.
	// +required
	// +kubebuilder:validation:MaxLength=64
	Digest string `json:"digest"`

	// problem is the reason why the request was refused. It is absent if the request was carried out.
	// +optional
	Problem *Problem `json:"problem,omitempty"`
}

// StateClaim is the state of a key claim. No RFC defines it.
const StateClaim acme.State = "claim"

// AcmeAccount is the account of an ACME client. It outlives its issuer.
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
	// metadata is the object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the request of the ACME client.
	// +required
	Spec AcmeAccountSpec `json:"spec"`
	// status is the verified state of the account.
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
