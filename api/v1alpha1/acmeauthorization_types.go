package v1alpha1

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
)

// AcmeAuthorizationSpec is a name that an account wants to prove control of, and how it chose to. That a field keeps its
// value is said on the field, which is cheaper for the API server than to reach each from here; only that one may not come
// or go has to be said here, since a field's own rule isn't asked then.
//
// +kubebuilder:validation:XValidation:rule="has(self.wildcard) == has(oldSelf.wildcard)",message="wildcard is immutable"
// +kubebuilder:validation:XValidation:rule="has(self.subdomains) == has(oldSelf.subdomains)",message="subdomains is immutable"
// +kubebuilder:validation:XValidation:rule="has(self.preAuthorization) == has(oldSelf.preAuthorization)",message="preAuthorization is immutable"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.response) || has(self.response)",message="response is set once"
// +kubebuilder:validation:XValidation:rule="!has(self.response) || self.challenges.exists(c, c.type == self.response.type)",message="response must be to one of the challenges"
type AcmeAuthorizationSpec struct {
	// IssuerRef names the issuer.
	// +required
	// +kubebuilder:validation:XValidation:rule="self.name == oldSelf.name",message="issuerRef is immutable"
	IssuerRef ObjectRef `json:"issuerRef"`

	// AccountRef names the account that is authorized.
	// +required
	// +kubebuilder:validation:XValidation:rule="self.name == oldSelf.name",message="accountRef is immutable"
	AccountRef ObjectRef `json:"accountRef"`

	// Identifier to prove control of; of a wildcard name, the part below the wildcard.
	// +required
	// +kubebuilder:validation:XValidation:rule="!self.value.startsWith('*.')",message="a wildcard's authorization names the domain, with wildcard set"
	// +kubebuilder:validation:XValidation:rule="self.value.size() <= 253",message="must be no longer than 253 characters",fieldPath=".value"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="identifier is immutable"
	Identifier Identifier `json:"identifier"`

	// Wildcard is whether the authorization is for the wildcard below the identifier, and not for the identifier itself.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="wildcard is immutable"
	Wildcard bool `json:"wildcard,omitempty"`

	// Subdomains is whether the authorization counts for all names below the identifier too (RFC 9444), wildcards among them.
	// It does where the issuer lets it, and control was proved in DNS.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="subdomains is immutable"
	Subdomains bool `json:"subdomains,omitempty"`

	// PreAuthorization is whether the account asked for the authorization by itself (RFC 8555 section 7.4.1), and not for an
	// order. Its orders use it while it is valid, also where the issuer doesn't reuse other authorizations.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="preAuthorization is immutable"
	PreAuthorization bool `json:"preAuthorization,omitempty"`

	// Challenges that are offered.
	// +required
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="challenges are immutable"
	Challenges []Challenge `json:"challenges"`

	// Response is the client's choice of a challenge, which has it validated; set once.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="response is set once"
	Response *ChallengeResponse `json:"response,omitempty"`

	// Deactivation ends the authorization (RFC 8555 section 7.5.2).
	// +optional
	Deactivation *Deactivation `json:"deactivation,omitempty"`
}

// Challenge is a way to prove control (RFC 8555 section 8).
// +kubebuilder:validation:XValidation:rule="has(self.token) != (self.type == 'dns-persist-01')",message="every challenge has a token, but for dns-persist-01"
type Challenge struct {
	// Type of the challenge.
	// +required
	// +kubebuilder:validation:Enum=http-01;dns-01;tls-alpn-01;dns-account-01;dns-persist-01
	Type acme.ChallengeType `json:"type"`

	// Token that the client has to show with its key's thumbprint; at least 128 bits, base64url (RFC 8555 section 8.3).
	// dns-persist-01 has none.
	// +optional
	// +kubebuilder:validation:MinLength=22
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_-]+$`
	Token string `json:"token,omitempty"`
}

// ChallengeResponse says that the client is ready for a challenge to be validated (RFC 8555 section 7.5.1).
type ChallengeResponse struct {
	// Type of the challenge.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	Type acme.ChallengeType `json:"type"`

	// Request as the client signed it.
	// +required
	Request SignedRequest `json:"request"`
}

// AcmeAuthorizationStatus is what validation found.
//
// +kubebuilder:validation:XValidation:rule="!(oldSelf.state in ['invalid', 'deactivated', 'expired', 'revoked']) || self.state == oldSelf.state",message="the authorization's state is final"
// +kubebuilder:validation:XValidation:rule="oldSelf.state != 'valid' || self.state != 'pending'",message="a valid authorization doesn't become pending again"
type AcmeAuthorizationStatus struct {
	// State of the authorization (RFC 8555 section 7.1.6).
	// +optional
	// +kubebuilder:default=pending
	// +kubebuilder:validation:Enum=pending;valid;invalid;deactivated;expired;revoked
	State acme.State `json:"state,omitempty"`

	// Expires is when the authorization ceases to count.
	// +optional
	Expires *metav1.Time `json:"expires,omitempty"`

	// Challenge that was tried.
	// +optional
	Challenge *ChallengeStatus `json:"challenge,omitempty"`

	// Problem says why the authorization was refused or failed.
	// +optional
	Problem *Problem `json:"problem,omitempty"`
}

// ChallengeStatus is what became of the challenge that the client chose.
type ChallengeStatus struct {
	// Type of the challenge.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	Type acme.ChallengeType `json:"type"`

	// State of the challenge (RFC 8555 section 7.1.6).
	// +required
	// +kubebuilder:validation:Enum=pending;processing;valid;invalid
	State acme.State `json:"state"`

	// ValidatedAt is when control was proved.
	// +optional
	ValidatedAt *metav1.Time `json:"validatedAt,omitempty"`

	// CAACheckedAt is when CAA records were last found to permit a certificate; absent where they weren't heeded.
	// +optional
	CAACheckedAt *metav1.Time `json:"caaCheckedAt,omitempty"`

	// Attempts that were made.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Attempts int `json:"attempts,omitempty"`

	// Problem of the newest attempt.
	// +optional
	Problem *Problem `json:"problem,omitempty"`

	// Record is what the newest attempt saw.
	// +optional
	Record *ValidationRecord `json:"record,omitempty"`
}

// ValidationRecord is what an attempt to validate saw, and from where.
type ValidationRecord struct {
	// Time at which the attempt began.
	// +optional
	Time *metav1.Time `json:"time,omitempty"`

	// DurationMillis is how long it took, in milliseconds.
	// +optional
	// +kubebuilder:validation:Minimum=0
	DurationMillis int64 `json:"durationMillis,omitempty"`

	// Resolver is the DNS server that answered.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Resolver string `json:"resolver,omitempty"`

	// Addresses that the name has.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=64
	Addresses []string `json:"addresses,omitempty"`

	// AddressUsed is the address and port that was connected to last.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	AddressUsed string `json:"addressUsed,omitempty"`

	// URLs that were fetched, redirects included.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=1024
	URLs []string `json:"urls,omitempty"`

	// Records are the DNS records that were seen, shortened.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=512
	Records []string `json:"records,omitempty"`

	// Perspectives are what was seen from elsewhere, of those that were waited for.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	Perspectives []PerspectiveRecord `json:"perspectives,omitempty"`
}

// PerspectiveRecord is what a perspective saw, in short.
type PerspectiveRecord struct {
	// Name of the perspective.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`

	// Valid is whether control was proved there.
	// +optional
	Valid bool `json:"valid"`

	// Problem says what went wrong there, or on the way there.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Problem string `json:"problem,omitempty"`

	// DurationMillis is how long it took, in milliseconds.
	// +optional
	// +kubebuilder:validation:Minimum=0
	DurationMillis int64 `json:"durationMillis,omitempty"`

	// Resolver is the DNS server that answered.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Resolver string `json:"resolver,omitempty"`

	// Addresses that the name has.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=64
	Addresses []string `json:"addresses,omitempty"`

	// AddressUsed is the address and port that was connected to last.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	AddressUsed string `json:"addressUsed,omitempty"`
}

// AcmeAuthorization is an account's proof, or attempt to prove, that it controls a name.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=acmeauthorizations,shortName=acmeauthz,categories=acme
// +kubebuilder:selectablefield:JSONPath=`.spec.issuerRef.name`
// +kubebuilder:selectablefield:JSONPath=`.spec.accountRef.name`
// +kubebuilder:selectablefield:JSONPath=`.spec.identifier.value`
// +kubebuilder:selectablefield:JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="Identifier",type=string,JSONPath=`.spec.identifier.value`
// +kubebuilder:printcolumn:name="Wildcard",type=boolean,JSONPath=`.spec.wildcard`,priority=1
// +kubebuilder:printcolumn:name="Challenge",type=string,JSONPath=`.spec.response.type`
// +kubebuilder:printcolumn:name="Issuer",type=string,JSONPath=`.spec.issuerRef.name`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.problem.type`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.status.expires`,priority=1
// +kubebuilder:printcolumn:name="Account",type=string,JSONPath=`.spec.accountRef.name`,priority=1
// +kubebuilder:printcolumn:name="Detail",type=string,JSONPath=`.status.problem.detail`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type AcmeAuthorization struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what the client asked for.
	// +required
	// +structType=atomic
	Spec AcmeAuthorizationSpec `json:"spec"`
	// Status is what validation found.
	// +optional
	// +kubebuilder:default={state: pending}
	// +structType=atomic
	Status AcmeAuthorizationStatus `json:"status,omitzero"`
}

// AcmeAuthorizationList is a list of authorizations.
//
// +kubebuilder:object:root=true
type AcmeAuthorizationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []AcmeAuthorization `json:"items"`
}

// ExpiresAt is when the authorization ceases to count: what the controllers set, or what they will while it is pending.
func (a *AcmeAuthorization) ExpiresAt(l Lifetimes) metav1.Time {
	if a.Status.Expires != nil {
		return *a.Status.Expires
	}
	return metav1.NewTime(a.CreationTimestamp.Add(l.PendingAuthorization.Duration))
}

// Offered lists the types of the challenges that are offered, for people.
func (a *AcmeAuthorization) Offered() string {
	var types []string
	for _, c := range a.Spec.Challenges {
		types = append(types, string(c.Type))
	}
	return strings.Join(types, ", ")
}

// Authorized gives the identifier that the authorization lets its account certify, with the wildcard.
func (a *AcmeAuthorization) Authorized() acme.Identifier {
	id := a.Spec.Identifier.ACME()
	if a.Spec.Wildcard {
		id.Value = "*." + id.Value
	}
	return id
}

// Covers reports whether the authorization is for an identifier, as such or as one of the names below its domain.
func (a *AcmeAuthorization) Covers(id acme.Identifier) bool {
	if a.Authorized() == id {
		return true
	}
	domain := a.Spec.Identifier
	if !a.Spec.Subdomains || domain.Type != acme.DNS || id.Type != acme.DNS {
		return false
	}
	return strings.HasSuffix(id.Value, "."+domain.Value)
}
