package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
)

// AcmeOrderSpec is what a client asked for. Where its rules stand is explained at AcmeAuthorizationSpec.
//
// +kubebuilder:validation:XValidation:rule="has(self.notBefore) == has(oldSelf.notBefore) && has(self.notAfter) == has(oldSelf.notAfter)",message="notBefore and notAfter are immutable"
// +kubebuilder:validation:XValidation:rule="has(self.profile) == has(oldSelf.profile)",message="profile is immutable"
// +kubebuilder:validation:XValidation:rule="has(self.replaces) == has(oldSelf.replaces)",message="replaces is immutable"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.csr) || has(self.csr)",message="csr is set once"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.finalization) || has(self.finalization)",message="finalization is set once"
// +kubebuilder:validation:XValidation:rule="has(self.csr) == has(self.finalization)",message="csr and finalization are set together"
type AcmeOrderSpec struct {
	// IssuerRef names the issuer.
	// +required
	// +kubebuilder:validation:XValidation:rule="self.name == oldSelf.name",message="issuerRef is immutable"
	IssuerRef ObjectRef `json:"issuerRef"`

	// AccountRef names the account that ordered.
	// +required
	// +kubebuilder:validation:XValidation:rule="self.name == oldSelf.name",message="accountRef is immutable"
	AccountRef ObjectRef `json:"accountRef"`

	// Identifiers that the certificate is to have.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="identifiers are immutable"
	Identifiers []Identifier `json:"identifiers"`

	// NotBefore that the client asked for.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="notBefore and notAfter are immutable"
	NotBefore *metav1.Time `json:"notBefore,omitempty"`

	// NotAfter that the client asked for.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="notBefore and notAfter are immutable"
	NotAfter *metav1.Time `json:"notAfter,omitempty"`

	// Profile of the certificate.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="profile is immutable"
	Profile string `json:"profile,omitempty"`

	// Replaces is the status.certificateID of the certificate that this order renews (RFC 9773 section 5).
	// +optional
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="replaces is immutable"
	Replaces string `json:"replaces,omitempty"`

	// Authorizations are the names of the AcmeAuthorizations that the order needs, one for each identifier in its order.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="authorizations are immutable"
	Authorizations []string `json:"authorizations"`

	// CSR is the PEM of the client's certificate signing request (RFC 2986), set once.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=49152
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="csr is set once"
	CSR string `json:"csr,omitempty"`

	// Finalization is the request that brought the CSR, set with it.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="finalization is set once"
	Finalization *Finalization `json:"finalization,omitempty"`

	// Revocation of the certificate. It stands once it has been carried out; a request that was refused can be replaced.
	// +optional
	Revocation *Revocation `json:"revocation,omitempty"`
}

// Finalization is a client's request to have its certificate made (RFC 8555 section 7.4).
type Finalization struct {
	// Request as the client signed it; the CSR in it must be the order's.
	// +required
	Request SignedRequest `json:"request"`

	// Time at which it came, where the certificate's validity starts.
	// +required
	Time metav1.Time `json:"time"`
}

// Revocation asks for the certificate to be revoked.
type Revocation struct {
	// Reason code (RFC 5280 section 5.3.1).
	// +optional
	// +kubebuilder:validation:Enum=0;1;3;4;5;9
	Reason int `json:"reason,omitempty"`

	// Request as a client signed it (RFC 8555 section 7.6). It is absent when a person revokes through the Kubernetes API,
	// which the ACME server may not.
	// +optional
	Request *SignedRequest `json:"request,omitempty"`
}

// AcmeOrderStatus is what the controllers decided.
//
// +kubebuilder:validation:XValidation:rule="!(oldSelf.state in ['valid', 'invalid']) || self.state == oldSelf.state",message="the order's state is final"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.certificate) || (has(self.certificate) && self.certificate == oldSelf.certificate)",message="certificate is set once"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.revokedAt) || (has(self.revokedAt) && self.revokedAt == oldSelf.revokedAt)",message="revokedAt is set once"
type AcmeOrderStatus struct {
	// State of the order (RFC 8555 section 7.1.6).
	// +optional
	// +kubebuilder:default=pending
	// +kubebuilder:validation:Enum=pending;ready;processing;valid;invalid
	State acme.State `json:"state,omitempty"`

	// Conditions; see the constants for Ready's reasons.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// Expires is when an order that isn't finished becomes invalid.
	// +optional
	Expires *metav1.Time `json:"expires,omitempty"`

	// Problem says why the order failed.
	// +optional
	Problem *Problem `json:"problem,omitempty"`

	// Certificate is the PEM of the certificate and the chain above it.
	// +optional
	// +kubebuilder:validation:MaxLength=131072
	Certificate string `json:"certificate,omitempty"`

	// Serial number of the certificate, in lower-case hexadecimal.
	// +optional
	// +kubebuilder:validation:MaxLength=40
	Serial string `json:"serial,omitempty"`

	// CertificateID is the name by which clients ask when to renew the certificate, and say that an order replaces it
	// (RFC 9773 section 4.1).
	// +optional
	// +kubebuilder:validation:MaxLength=128
	CertificateID string `json:"certificateID,omitempty"`

	// KeyFingerprint is the SHA-256 of the certificate's public key (SubjectPublicKeyInfo), in lower-case hexadecimal.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	KeyFingerprint string `json:"keyFingerprint,omitempty"`

	// NotBefore is the first second of the certificate's validity.
	// +optional
	NotBefore *metav1.Time `json:"notBefore,omitempty"`

	// NotAfter is the last second of the certificate's validity.
	// +optional
	NotAfter *metav1.Time `json:"notAfter,omitempty"`

	// CRL names the shard of the issuer's list of revoked certificates that the certificate belongs to.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	CRL string `json:"crl,omitempty"`

	// RevokedAt is when the certificate was revoked.
	// +optional
	RevokedAt *metav1.Time `json:"revokedAt,omitempty"`

	// Revocation is the newest request to revoke that was looked at.
	// +optional
	Revocation *HandledRequest `json:"revocation,omitempty"`
}

// RevocationFinalizer keeps an order until what it says of a revocation is in the CRL.
const RevocationFinalizer = "acmeca.dev/revocation"

// RevokedByAnnotation names the person who asked for the revocation, as the API server knew them. It is for other people:
// who may change an order may change it, and the API server's audit log is what proves it.
const RevokedByAnnotation = "acmeca.dev/revoked-by"

// Reasons of an AcmeOrder's Ready condition; where it failed, the reason is the problem's type.
const (
	// ReasonIssued : status.certificate holds the certificate.
	ReasonIssued = "Issued"
	// ReasonAuthorized : every name is proved, and the client has yet to finalize.
	ReasonAuthorized = "Authorized"
	// ReasonCheckingCAA : the client has finalized, and CAA records are checked once more before the certificate is made.
	ReasonCheckingCAA = "CheckingCAA"
	// ReasonIssuerNotReady : the order was finalized, and waits for its issuer, which can't issue now.
	ReasonIssuerNotReady = "IssuerNotReady"
	// ReasonRevoked : the certificate was issued and has been revoked.
	ReasonRevoked = "Revoked"
)

// AcmeOrder is a client's order for one certificate, and that certificate.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=acmeorders,shortName=acmeord,categories=acme
// +kubebuilder:selectablefield:JSONPath=`.spec.issuerRef.name`
// +kubebuilder:selectablefield:JSONPath=`.spec.accountRef.name`
// +kubebuilder:selectablefield:JSONPath=`.status.state`
// +kubebuilder:selectablefield:JSONPath=`.status.serial`
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="Identifier",type=string,JSONPath=`.spec.identifiers[0].value`,description="The first identifier; -o wide shows all"
// +kubebuilder:printcolumn:name="Issuer",type=string,JSONPath=`.spec.issuerRef.name`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.problem.type`
// +kubebuilder:printcolumn:name="Not After",type=string,JSONPath=`.status.notAfter`
// +kubebuilder:printcolumn:name="Identifiers",type=string,JSONPath=`.spec.identifiers`,priority=1
// +kubebuilder:printcolumn:name="Revoked",type=date,JSONPath=`.status.revokedAt`,priority=1
// +kubebuilder:printcolumn:name="Account",type=string,JSONPath=`.spec.accountRef.name`,priority=1
// +kubebuilder:printcolumn:name="Serial",type=string,JSONPath=`.status.serial`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.status.revokedAt) || has(self.spec.revocation) == has(oldSelf.spec.revocation) && (!has(self.spec.revocation) || self.spec.revocation == oldSelf.spec.revocation)",message="spec.revocation stands once it has been carried out"
type AcmeOrder struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what the client asked for.
	// +required
	// +structType=atomic
	Spec AcmeOrderSpec `json:"spec"`
	// Status is what became of it.
	// +optional
	// +kubebuilder:default={state: pending}
	// +structType=atomic
	Status AcmeOrderStatus `json:"status,omitzero"`
}

// AcmeOrderList is a list of orders.
//
// +kubebuilder:object:root=true
type AcmeOrderList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []AcmeOrder `json:"items"`
}

// CompromisedKey is the fingerprint of a key that its certificate was revoked for, since others have it; "" for none.
func (o *AcmeOrder) CompromisedKey() string {
	const keyCompromise = 1 // RFC 5280 section 5.3.1
	if o.Status.RevokedAt == nil || o.Spec.Revocation == nil || o.Spec.Revocation.Reason != keyCompromise {
		return ""
	}
	return o.Status.KeyFingerprint
}

// Names are the order's identifiers, in RFC 8555's terms.
func (o *AcmeOrder) Names() []acme.Identifier {
	names := make([]acme.Identifier, len(o.Spec.Identifiers))
	for i, id := range o.Spec.Identifiers {
		names[i] = id.ACME()
	}
	return names
}

// ExpiresAt is when an order that isn't finished becomes invalid: what the controllers set, or what they will.
func (o *AcmeOrder) ExpiresAt(l Lifetimes) metav1.Time {
	if o.Status.Expires != nil {
		return *o.Status.Expires
	}
	return metav1.NewTime(o.CreationTimestamp.Add(l.Order.Duration))
}
