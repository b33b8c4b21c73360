package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
)

// ObjectRef names another object of a known kind in the same namespace. References never cross namespaces, so write access to
// one namespace grants nothing in another.
type ObjectRef struct {
	// name of the object.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	Name string `json:"name"`
}

// SignedRequest is the signed request of a client: the flattened JWS of RFC 8555 section 6.2. The ACME server stores it. The
// controllers verify it again before they act on it. The client signed the base64url of protected and payload. A part that is a
// JSON object of printable ASCII characters is stored decoded, and every other part in base64url. An object that begins with {' has
// apostrophes for quotation marks, and a tilde for the second occurrence of the first URL's base, up to /acme/.
type SignedRequest struct {
	// protected is the protected header, JSON or base64url, of at most 4096 characters. A header with an RSA-4096 key, and the
	// longest URLs and nonces that acmeca issues, takes about 3000 in base64url.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	// +kubebuilder:validation:Pattern=`^([A-Za-z0-9_-]+|\{[ -~]*\})$`
	Protected string `json:"protected"`

	// payload is the payload, JSON or base64url, of at most 61440 characters. A CSR of 32768 bytes takes 58268 in base64url. Most
	// requests have a lower limit, which is stated with the field that contains them.
	// +optional
	// +kubebuilder:validation:MaxLength=61440
	// +kubebuilder:validation:Pattern=`^([A-Za-z0-9_-]*|\{[ -~]*\})$`
	Payload string `json:"payload,omitempty"`

	// signature is the signature, base64url, of at most 1024 characters. An RSA-4096 signature takes 683.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_-]+$`
	Signature string `json:"signature"`
}

// Identifier is the subject of a certificate or authorization (RFC 8555 section 7.1.3).
type Identifier struct {
	// type of the identifier.
	// +required
	// +kubebuilder:validation:Enum=dns;ip
	Type acme.IdentifierType `json:"type"`

	// value in normalized form: a domain name in lower case without a trailing dot, or an IP address in the form of RFC 5952.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	Value string `json:"value"`
}

// ACME returns the identifier as an acme.Identifier.
func (i Identifier) ACME() acme.Identifier { return acme.Identifier(i) }

// Problem is a problem document (RFC 9457, RFC 8555 section 6.7): the reason of a failure, as shown to the client.
type Problem struct {
	// type is the last part of the ACME error URN, such as "connection" or "rejectedIdentifier".
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	Type acme.ProblemType `json:"type"`

	// detail explains the failure.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Detail string `json:"detail,omitempty"`

	// status is the HTTP status of the problem.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=599
	Status int `json:"status,omitempty"`

	// identifier that caused the problem.
	// +optional
	Identifier *Identifier `json:"identifier,omitempty"`

	// subproblems lists one problem for each identifier that caused the failure.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	Subproblems []Subproblem `json:"subproblems,omitempty"`
}

// Subproblem is a problem with a single identifier (RFC 8555 section 6.7.1).
type Subproblem struct {
	// type is the last part of the ACME error URN.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	Type acme.ProblemType `json:"type"`

	// detail explains the failure.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Detail string `json:"detail,omitempty"`

	// identifier that caused the problem.
	// +optional
	Identifier *Identifier `json:"identifier,omitempty"`
}

// ProblemFrom returns the stored form of a problem, or nil for nil.
func ProblemFrom(p *acme.Problem) *Problem {
	if p == nil {
		return nil
	}
	out := &Problem{Type: p.Type, Detail: p.Detail, Status: p.Status, Identifier: identifierFrom(p.Identifier)}
	for _, s := range p.Subproblems {
		out.Subproblems = append(out.Subproblems, Subproblem{Type: s.Type, Detail: s.Detail, Identifier: identifierFrom(s.Identifier)})
	}
	return out
}

// ACME returns the problem as an acme.Problem, or nil for nil.
func (p *Problem) ACME() *acme.Problem {
	if p == nil {
		return nil
	}
	out := &acme.Problem{Type: p.Type, Detail: p.Detail, Status: p.Status, Identifier: (*acme.Identifier)(p.Identifier)}
	for _, s := range p.Subproblems {
		out.Subproblems = append(out.Subproblems, acme.Problem{Type: s.Type, Detail: s.Detail, Identifier: (*acme.Identifier)(s.Identifier)})
	}
	return out
}

func identifierFrom(id *acme.Identifier) *Identifier { return (*Identifier)(id) }

// Deactivation permanently ends an account or an authorization.
type Deactivation struct {
	// request is the signed request of the client (RFC 8555 sections 7.3.6 and 7.5.2). It is absent if a person deactivates
	// through the Kubernetes API. The ACME server must set it. Its payload has at most 512 characters.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!has(self.payload) || self.payload.size() <= 512",message="must be at most 512 characters",fieldPath=".payload"
	Request *SignedRequest `json:"request,omitempty"`
}

// ConditionReady is the condition type that summarizes an object. It is true for an issuer that can issue, and for an order
// that has its certificate. Each kind lists its reasons.
const ConditionReady = "Ready"

// Conditions is a list of conditions.
type Conditions = []metav1.Condition
