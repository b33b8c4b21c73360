package v1alpha1

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
)

// AcmeAuthorizationSpec is an identifier that an account wants to prove control of, and the challenge that its client chose.
//
// Rules that keep a value stand on the field, where they cost the API server less. Rules against adding or removing a field
// stand on this type, because a field's own rule does not run then.
//
// +kubebuilder:validation:XValidation:rule="has(self.wildcard) == has(oldSelf.wildcard)",message="wildcard is immutable"
// +kubebuilder:validation:XValidation:rule="has(self.subdomains) == has(oldSelf.subdomains)",message="subdomains is immutable"
// +kubebuilder:validation:XValidation:rule="has(self.preAuthorization) == has(oldSelf.preAuthorization)",message="preAuthorization is immutable"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.response) || has(self.response)",message="response is set once"
// +kubebuilder:validation:XValidation:rule="oldSelf.?response.hasValue() || !has(self.response) || self.challenges.exists(c, c.type == self.response.type)",optionalOldSelf=true,message="response.type must be the type of one of the challenges"
type AcmeAuthorizationSpec struct {
	// issuerRef names the AcmeIssuer of the authorization.
	// +required
	// +kubebuilder:validation:XValidation:rule="self.name == oldSelf.name",message="issuerRef is immutable"
	IssuerRef ObjectRef `json:"issuerRef"`

	// accountRef names the AcmeAccount that is authorized.
	// +required
	// +kubebuilder:validation:XValidation:rule="self.name == oldSelf.name",message="accountRef is immutable"
	AccountRef ObjectRef `json:"accountRef"`

	// identifier is the domain name or IP address to prove control of. The identifier of a wildcard authorization lacks the
	// leading "*.".
	// +required
	// +kubebuilder:validation:XValidation:rule="oldSelf.hasValue() || !self.value.startsWith('*.')",optionalOldSelf=true,message="must not begin with '*.'; set wildcard to true instead"
	// +kubebuilder:validation:XValidation:rule="oldSelf.hasValue() || self.value.size() <= 253",optionalOldSelf=true,message="must be at most 253 characters",fieldPath=".value"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="identifier is immutable"
	Identifier Identifier `json:"identifier"`

	// wildcard is true if the authorization is for the wildcard name below identifier, and not for identifier itself.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="wildcard is immutable"
	Wildcard bool `json:"wildcard,omitempty"`

	// subdomains is true if the authorization also covers all names below identifier, wildcards included (RFC 9444). It takes
	// effect if the issuer allows it and the challenge is a DNS challenge.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="subdomains is immutable"
	Subdomains bool `json:"subdomains,omitempty"`

	// preAuthorization is true if the account asked for the authorization without an order (RFC 8555 section 7.4.1). Its
	// orders use a valid pre-authorization even if the issuer does not reuse authorizations.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="preAuthorization is immutable"
	PreAuthorization bool `json:"preAuthorization,omitempty"`

	// challenges lists the challenges that the client can choose from.
	// +required
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="challenges are immutable"
	// +kubebuilder:validation:XValidation:rule="oldSelf.hasValue() || self.exists(c, has(c.token)) || self.all(c, c.type == 'dns-persist-01')",optionalOldSelf=true,message="one of the challenges must have a token"
	// +kubebuilder:validation:XValidation:rule="oldSelf.hasValue() || self.all(c, !has(c.token) || c.type != 'dns-persist-01')",optionalOldSelf=true,message="a dns-persist-01 challenge has no token"
	Challenges []Challenge `json:"challenges"`

	// response is the challenge that the client chose. Validation starts when it is set. It can be set once.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="response is set once"
	Response *ChallengeResponse `json:"response,omitempty"`

	// deactivation ends the authorization (RFC 8555 section 7.5.2).
	// +optional
	Deactivation *Deactivation `json:"deactivation,omitempty"`
}

// Challenge is a way to prove control of an identifier (RFC 8555 section 8).
type Challenge struct {
	// type of the challenge.
	// +required
	// +kubebuilder:validation:Enum=http-01;dns-01;tls-alpn-01;dns-account-01;dns-persist-01
	Type acme.ChallengeType `json:"type"`

	// token is the random value that the client presents with its key's thumbprint: 22 to 64 base64url characters, at least
	// 128 bits (RFC 8555 section 8.3). Without it, the token is derived from the first one in the list: the first 16 bytes of the
	// SHA-256 of that token, a blank and the type, in base64url. A dns-persist-01 challenge has no token.
	// +optional
	// +kubebuilder:validation:MinLength=22
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_-]+$`
	Token string `json:"token,omitempty"`
}

// ChallengeResponse tells the controllers to validate a challenge (RFC 8555 section 7.5.1).
type ChallengeResponse struct {
	// type of the chosen challenge.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	Type acme.ChallengeType `json:"type"`

	// request is the signed request of the client. Its payload has at most 512 characters.
	// +required
	// +kubebuilder:validation:XValidation:rule="oldSelf.hasValue() || !has(self.payload) || self.payload.size() <= 512",optionalOldSelf=true,message="must be at most 512 characters",fieldPath=".payload"
	Request SignedRequest `json:"request"`
}

// AcmeAuthorizationStatus is the result of validation.
type AcmeAuthorizationStatus struct {
	// state of the authorization (RFC 8555 section 7.1.6).
	// +optional
	// +kubebuilder:default=pending
	// +kubebuilder:validation:Enum=pending;valid;invalid;deactivated;expired;revoked
	// +kubebuilder:validation:XValidation:rule="!(oldSelf in ['invalid', 'deactivated', 'expired', 'revoked']) || self == oldSelf",message="the authorization's state is final"
	// +kubebuilder:validation:XValidation:rule="oldSelf != 'valid' || self != 'pending'",message="a valid authorization cannot become pending"
	State acme.State `json:"state,omitempty"`

	// expires is the time at which the authorization stops counting.
	// +optional
	Expires *metav1.Time `json:"expires,omitempty"`

	// challenge is the state of the chosen challenge.
	// +optional
	Challenge *ChallengeStatus `json:"challenge,omitempty"`

	// problem is the reason why the authorization was refused or failed.
	// +optional
	Problem *Problem `json:"problem,omitempty"`
}

// ChallengeStatus is the state of the challenge that the client chose.
type ChallengeStatus struct {
	// type of the challenge.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	Type acme.ChallengeType `json:"type"`

	// state of the challenge (RFC 8555 section 7.1.6).
	// +required
	// +kubebuilder:validation:Enum=pending;processing;valid;invalid
	State acme.State `json:"state"`

	// validatedAt is the time at which control was proved.
	// +optional
	ValidatedAt *metav1.Time `json:"validatedAt,omitempty"`

	// caaCheckedAt is the time of the newest CAA check that permitted issuance. It is absent if the issuer does not check CAA
	// records.
	// +optional
	CAACheckedAt *metav1.Time `json:"caaCheckedAt,omitempty"`

	// attempts is the number of validation attempts.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Attempts int `json:"attempts,omitempty"`

	// problem of the newest attempt.
	// +optional
	Problem *Problem `json:"problem,omitempty"`

	// record contains the observations of the newest attempt.
	// +optional
	Record *ValidationRecord `json:"record,omitempty"`
}

// ValidationRecord contains the observations of a validation attempt.
type ValidationRecord struct {
	// time is the start of the attempt. A proof has it in validatedAt less durationMillis.
	// +optional
	Time *metav1.Time `json:"time,omitempty"`

	// durationMillis is the duration of the attempt in milliseconds.
	// +optional
	// +kubebuilder:validation:Minimum=0
	DurationMillis int64 `json:"durationMillis,omitempty"`

	// resolver is the DNS server that answered.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Resolver string `json:"resolver,omitempty"`

	// authoritativeServer is the authoritative server of the zone that was queried last.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	AuthoritativeServer string `json:"authoritativeServer,omitempty"`

	// addresses lists the IP addresses of the name. A proof lacks it if addressUsed is the only one.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=64
	Addresses []string `json:"addresses,omitempty"`

	// addressUsed is the address and port of the last connection.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	AddressUsed string `json:"addressUsed,omitempty"`

	// urls lists the fetched URLs, redirects included. A proof without a redirect lacks it.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=1024
	URLs []string `json:"urls,omitempty"`

	// records lists the DNS records that were found, shortened.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=512
	Records []string `json:"records,omitempty"`

	// perspectives lists the results of other perspectives, of those that answered in time.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	Perspectives []PerspectiveRecord `json:"perspectives,omitempty"`
}

// PerspectiveRecord is the result of one perspective.
type PerspectiveRecord struct {
	// name of the perspective.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`

	// valid is true if the perspective confirmed control.
	// +optional
	Valid bool `json:"valid"`

	// problem is the reason why the perspective did not confirm control, or could not be asked.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Problem string `json:"problem,omitempty"`

	// durationMillis is the duration of the attempt in milliseconds.
	// +optional
	// +kubebuilder:validation:Minimum=0
	DurationMillis int64 `json:"durationMillis,omitempty"`

	// resolver is the DNS server that answered.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Resolver string `json:"resolver,omitempty"`

	// authoritativeServer is the authoritative server of the zone that was queried last.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	AuthoritativeServer string `json:"authoritativeServer,omitempty"`

	// addresses lists the IP addresses of the name.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=64
	Addresses []string `json:"addresses,omitempty"`

	// addressUsed is the address and port of the last connection.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	AddressUsed string `json:"addressUsed,omitempty"`
}

// AcmeAuthorization is an account's proof, or attempted proof, that it controls an identifier.
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
	// metadata is the object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the request of the ACME client.
	// +required
	// +structType=atomic
	Spec AcmeAuthorizationSpec `json:"spec"`
	// status is the result of validation.
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

// ExpiresAt returns status.expires. For a pending authorization without it, ExpiresAt returns the time that the controllers
// will set.
func (a *AcmeAuthorization) ExpiresAt(l Lifetimes) metav1.Time {
	if a.Status.Expires != nil {
		return *a.Status.Expires
	}
	return metav1.NewTime(a.CreationTimestamp.Add(l.PendingAuthorization.Duration))
}

// Offered returns the types of the offered challenges, separated by commas, for people.
func (a *AcmeAuthorization) Offered() string {
	var types []string
	for _, c := range a.Spec.Challenges {
		types = append(types, string(c.Type))
	}
	return strings.Join(types, ", ")
}

// Token returns the token of a challenge: its own, or the one that is derived from the first token of the list, so that only one is
// stored. It returns "" for a type that is not offered or has no token.
func (a *AcmeAuthorization) Token(challenge acme.ChallengeType) string {
	offered, first := false, ""
	for _, c := range a.Spec.Challenges {
		if c.Type == challenge && (c.Token != "" || !challenge.HasToken()) {
			return c.Token
		}
		offered = offered || c.Type == challenge
		if first == "" {
			first = c.Token
		}
	}
	if !offered || first == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(first + " " + string(challenge)))
	return base64.RawURLEncoding.EncodeToString(sum[:tokenSize])
}

// tokenSize is the length of a derived token in bytes: the 128 bits of RFC 8555 section 8.3.
const tokenSize = 16

// Authorized returns the identifier that the account may certify, with the leading "*." of a wildcard.
func (a *AcmeAuthorization) Authorized() acme.Identifier {
	id := a.Spec.Identifier.ACME()
	if a.Spec.Wildcard {
		id.Value = "*." + id.Value
	}
	return id
}

// Covers reports whether the authorization is for an identifier: the very identifier, or a name below its domain if
// subdomains is set.
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
