package v1alpha1

import (
	"crypto/x509"
	"encoding/pem"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
)

// Each access to a field of the spec costs the API server 5 KB of memory. So rules with optionalOldSelf, which only a creation can
// break, read no field of an update.

// AcmeOrderSpec is the request of an ACME client, or of a Pod. AcmeAuthorizationSpec explains the placement of validation rules.
//
// +kubebuilder:validation:XValidation:rule="has(self.notBefore) == has(oldSelf.notBefore) && has(self.notAfter) == has(oldSelf.notAfter)",message="notBefore and notAfter are immutable"
// +kubebuilder:validation:XValidation:rule="has(self.profile) == has(oldSelf.profile)",message="profile is immutable"
// +kubebuilder:validation:XValidation:rule="has(self.replaces) == has(oldSelf.replaces)",message="replaces is immutable"
// +kubebuilder:validation:XValidation:rule="has(self.grants) == has(oldSelf.grants)",message="grants are immutable"
// +kubebuilder:validation:XValidation:rule="oldSelf.hasValue() || !has(self.grants) || self.grants.size() == self.identifiers.size()",optionalOldSelf=true,message="grants must have an entry for each identifier"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.csr) || has(self.csr)",message="csr is set once"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.finalization) || has(self.finalization)",message="finalization is set once"
// +kubebuilder:validation:XValidation:rule="!has(self.csr) || has(self.finalization)",message="csr needs a finalization"
// +kubebuilder:validation:XValidation:rule="has(self.pod) == has(oldSelf.pod) && has(self.accountRef) == has(oldSelf.accountRef)",message="accountRef and pod are immutable"
// +kubebuilder:validation:XValidation:rule="has(self.identifiers) == has(oldSelf.identifiers) && has(self.authorizations) == has(oldSelf.authorizations)",message="identifiers and authorizations are immutable"
// +kubebuilder:validation:XValidation:rule="oldSelf.hasValue() || has(self.pod) != has(self.accountRef)",optionalOldSelf=true,message="exactly one of accountRef and pod must be set"
// +kubebuilder:validation:XValidation:rule="oldSelf.hasValue() || has(self.pod) || has(self.identifiers) && has(self.authorizations)",optionalOldSelf=true,message="identifiers and authorizations are required"
// +kubebuilder:validation:XValidation:rule="!has(self.pod) || !has(self.authorizations) && !has(self.finalization)",message="an order for a Pod has no authorizations or finalization"
type AcmeOrderSpec struct {
	// issuerRef names the AcmeIssuer of the order.
	// +required
	// +kubebuilder:validation:XValidation:rule="self.name == oldSelf.name",message="issuerRef is immutable"
	IssuerRef ObjectRef `json:"issuerRef"`

	// accountRef names the AcmeAccount that ordered. An order for a Pod has none.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.name == oldSelf.name",message="accountRef is immutable"
	AccountRef ObjectRef `json:"accountRef,omitzero"`

	// pod is the Pod for which the controllers issue the certificate. Orders of ACME clients have none.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="pod is immutable"
	Pod *PodSource `json:"pod,omitempty"`

	// identifiers lists the domain names and IP addresses of the certificate. Only the order of a Pod that has nothing but a SPIFFE
	// ID has none.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="identifiers are immutable"
	Identifiers []Identifier `json:"identifiers,omitempty"`

	// notBefore is the start of validity that the client asked for (RFC 3339, with upper-case "T" and "Z", years 1000 to
	// 2999).
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="notBefore and notAfter are immutable"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:Pattern=`^[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	NotBefore *metav1.Time `json:"notBefore,omitempty"`

	// notAfter is the end of validity that the client asked for, in the format of notBefore.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="notBefore and notAfter are immutable"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:Pattern=`^[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	NotAfter *metav1.Time `json:"notAfter,omitempty"`

	// profile names the profile of the certificate.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="profile is immutable"
	Profile string `json:"profile,omitempty"`

	// replaces is the identifier of the certificate that this order renews (RFC 9773 section 4.1).
	// +optional
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="replaces is immutable"
	Replaces string `json:"replaces,omitempty"`

	// authorizations lists the names of the AcmeAuthorizations that the order needs, one for each identifier, in the order of
	// identifiers. An order for a Pod has none.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="authorizations are immutable"
	Authorizations []string `json:"authorizations,omitempty"`

	// grants lists the names of the issuer's grants that authorize the identifiers, one for each identifier, in the order of
	// identifiers. An entry is empty if control of the identifier must be proved. The field is absent if no identifier is
	// granted. The controllers fail an order with a grant that does not cover the identifier.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="grants are immutable"
	Grants []string `json:"grants,omitempty"`

	// csr is the certificate signing request of the client (RFC 2986), PEM, in orders of earlier versions. It repeats the CSR in
	// finalization, and nothing reads it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=49152
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="csr is set once"
	CSR string `json:"csr,omitempty"`

	// finalization is the finalize request with the CSR. It can be set once.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="finalization is set once"
	Finalization *Finalization `json:"finalization,omitempty"`

	// revocation asks to revoke the certificate. It can be replaced if it was refused, but not after the certificate was
	// revoked.
	// +optional
	Revocation *Revocation `json:"revocation,omitempty"`
}

// Finalization is a client's request to issue the certificate (RFC 8555 section 7.4).
type Finalization struct {
	// request is the signed request of the client. It contains the CSR of the order, of at most 32768 bytes in DER.
	// +required
	Request SignedRequest `json:"request"`

	// time at which the ACME server received the request, in the format of spec.notBefore. The certificate's validity is
	// derived from it.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:Pattern=`^[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	Time metav1.Time `json:"time"`
}

// Revocation asks to revoke the certificate.
type Revocation struct {
	// reason code (RFC 5280 section 5.3.1): 0 unspecified, 1 keyCompromise, 3 affiliationChanged, 4 superseded, 5
	// cessationOfOperation, 9 privilegeWithdrawn.
	// +optional
	// +kubebuilder:default=0
	// +kubebuilder:validation:Enum=0;1;3;4;5;9
	Reason int `json:"reason,omitempty"`

	// request is the signed request of a client (RFC 8555 section 7.6). It is absent if a person revokes through the
	// Kubernetes API. The ACME server must set it.
	// +optional
	Request *SignedRequest `json:"request,omitempty"`
}

// AcmeOrderStatus is the outcome of the order.
//
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.certificate) || (has(self.certificate) && self.certificate == oldSelf.certificate)",message="certificate is set once"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.certificate) || (has(self.chain) == has(oldSelf.chain) && (!has(self.chain) || self.chain == oldSelf.chain))",message="chain is set once"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.revokedAt) || (has(self.revokedAt) && self.revokedAt == oldSelf.revokedAt)",message="revokedAt is set once"
type AcmeOrderStatus struct {
	// state of the order (RFC 8555 section 7.1.6).
	// +optional
	// +kubebuilder:default=pending
	// +kubebuilder:validation:Enum=pending;ready;processing;valid;invalid
	// +kubebuilder:validation:XValidation:rule="!(oldSelf in ['valid', 'invalid']) || self == oldSelf",message="the order's state is final"
	State acme.State `json:"state,omitempty"`

	// conditions of the order. The constants of the Go package list the reasons of Ready.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// expires is the time at which an unfinished order becomes invalid. A valid order has none.
	// +optional
	Expires *metav1.Time `json:"expires,omitempty"`

	// problem is the reason why the order failed.
	// +optional
	Problem *Problem `json:"problem,omitempty"`

	// certificate is the certificate, PEM. Without chain, its chain follows it.
	// +optional
	// +kubebuilder:validation:MaxLength=131072
	Certificate string `json:"certificate,omitempty"`

	// chain is the id of the chain of the certificate, in status.chains of the issuer.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	Chain string `json:"chain,omitempty"`

	// serial is the serial number of the certificate, in lower-case hexadecimal.
	// +optional
	// +kubebuilder:validation:MaxLength=40
	Serial string `json:"serial,omitempty"`

	// certificateID identifies the certificate to ACME clients (RFC 9773 section 4.1), in orders of earlier versions. It is derived
	// from the certificate.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	CertificateID string `json:"certificateID,omitempty"`

	// keyFingerprint is the SHA-256 of the certificate's public key (SubjectPublicKeyInfo), in lower-case hexadecimal, if the
	// certificate was revoked because the key is compromised. Orders of earlier versions always have it.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	KeyFingerprint string `json:"keyFingerprint,omitempty"`

	// notBefore is the first second of the certificate's validity.
	// +optional
	NotBefore *metav1.Time `json:"notBefore,omitempty"`

	// notAfter is the last second of the certificate's validity.
	// +optional
	NotAfter *metav1.Time `json:"notAfter,omitempty"`

	// crl names the CRL at the URL in the certificate, which lists the certificate if it is revoked.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	CRL string `json:"crl,omitempty"`

	// revokedAt is the time at which the certificate was revoked.
	// +optional
	RevokedAt *metav1.Time `json:"revokedAt,omitempty"`

	// revocation is the result of the newest revocation request.
	// +optional
	Revocation *HandledRequest `json:"revocation,omitempty"`
}

// RevocationFinalizer keeps an order from the request of its revocation until the revocation is in the CRL.
const RevocationFinalizer = "acmeca.dev/revocation"

// RevokedByAnnotation names the person who asked for the revocation, by their user name at the API server. It informs other
// people. Everyone who may change an order may change the annotation; only the audit log of the API server is proof.
const RevokedByAnnotation = "acmeca.dev/revoked-by"

// Reasons of an AcmeOrder's Ready condition. If the order failed, the reason is the type of the problem.
const (
	// ReasonIssued means that status.certificate contains the certificate.
	ReasonIssued = "Issued"
	// ReasonAuthorized means that control of every identifier is proved, and the client has not finalized the order yet.
	ReasonAuthorized = "Authorized"
	// ReasonCheckingCAA means that the client finalized the order, and CAA records are checked again before issuance.
	ReasonCheckingCAA = "CheckingCAA"
	// ReasonIssuerNotReady means that the order was finalized and waits for its issuer, which cannot issue now.
	ReasonIssuerNotReady = "IssuerNotReady"
	// ReasonRevoked means that the certificate was issued and then revoked.
	ReasonRevoked = "Revoked"
)

// AcmeOrder is a client's order for one certificate. It contains the certificate once issued.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=acmeorders,shortName=acmeord,categories=acme
// +kubebuilder:selectablefield:JSONPath=`.spec.issuerRef.name`
// +kubebuilder:selectablefield:JSONPath=`.spec.accountRef.name`
// +kubebuilder:selectablefield:JSONPath=`.spec.pod.name`
// +kubebuilder:selectablefield:JSONPath=`.spec.replaces`
// +kubebuilder:selectablefield:JSONPath=`.spec.revocation.reason`
// +kubebuilder:selectablefield:JSONPath=`.status.state`
// +kubebuilder:selectablefield:JSONPath=`.status.serial`
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="Identifier",type=string,JSONPath=`.spec.identifiers[0].value`,description="First identifier; -o wide shows all"
// +kubebuilder:printcolumn:name="Issuer",type=string,JSONPath=`.spec.issuerRef.name`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.problem.type`
// +kubebuilder:printcolumn:name="Not After",type=string,JSONPath=`.status.notAfter`
// +kubebuilder:printcolumn:name="Identifiers",type=string,JSONPath=`.spec.identifiers`,priority=1
// +kubebuilder:printcolumn:name="Revoked",type=date,JSONPath=`.status.revokedAt`,priority=1
// +kubebuilder:printcolumn:name="Account",type=string,JSONPath=`.spec.accountRef.name`,priority=1
// +kubebuilder:printcolumn:name="Grants",type=string,JSONPath=`.spec.grants`,priority=1,description="Grants that authorize the identifiers"
// +kubebuilder:printcolumn:name="Pod",type=string,JSONPath=`.spec.pod.name`,priority=1
// +kubebuilder:printcolumn:name="Serial",type=string,JSONPath=`.status.serial`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.status.revokedAt) || has(self.spec.revocation) == has(oldSelf.spec.revocation) && (!has(self.spec.revocation) || self.spec.revocation == oldSelf.spec.revocation)",message="spec.revocation is immutable once the certificate is revoked"
type AcmeOrder struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the request of the ACME client.
	// +required
	// +structType=atomic
	Spec AcmeOrderSpec `json:"spec"`
	// status is the outcome of the order.
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

// CompromisedKey returns the fingerprint of the key if the certificate was revoked because the key is compromised, and
// otherwise "".
func (o *AcmeOrder) CompromisedKey() string {
	if o.Status.RevokedAt == nil || !o.ReportsCompromise() {
		return ""
	}
	return o.Status.KeyFingerprint
}

// ReportsCompromise reports whether a revocation is requested because the key is compromised.
func (o *AcmeOrder) ReportsCompromise() bool {
	const keyCompromise = 1 // RFC 5280 section 5.3.1
	return o.Spec.Revocation != nil && o.Spec.Revocation.Reason == keyCompromise
}

// CertificateID returns the identifier of the order's certificate (RFC 9773 section 4.1), which clients use to ask when to renew, and
// in spec.replaces of the next order. It returns "" without a certificate.
func (o *AcmeOrder) CertificateID() string {
	if o.Status.CertificateID != "" {
		return o.Status.CertificateID
	}
	block, _ := pem.Decode([]byte(o.Status.Certificate))
	if block == nil {
		return ""
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil || len(certificate.AuthorityKeyId) == 0 || certificate.SerialNumber.Sign() <= 0 {
		return ""
	}
	return acme.NewCertID(certificate.AuthorityKeyId, certificate.SerialNumber).String()
}

// Names returns the order's identifiers as acme.Identifiers.
func (o *AcmeOrder) Names() []acme.Identifier {
	names := make([]acme.Identifier, len(o.Spec.Identifiers))
	for i, id := range o.Spec.Identifiers {
		names[i] = id.ACME()
	}
	return names
}

// ExpiresAt returns status.expires. For an order without it, ExpiresAt returns the time that the controllers will set.
func (o *AcmeOrder) ExpiresAt(l Lifetimes) metav1.Time {
	if o.Status.Expires != nil {
		return *o.Status.Expires
	}
	return metav1.NewTime(o.CreationTimestamp.Add(l.Order.Duration))
}
