package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
)

// ObjectRef names another object of a known kind in the same namespace. There are no references across namespaces, so
// that who may write here gains nothing elsewhere.
type ObjectRef struct {
	// Name of the object.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	Name string `json:"name"`
}

// SignedRequest is a client's own request, the flattened JWS of RFC 8555 section 6.2 as it was sent. The ACME server
// stores it; the controllers verify it again before they act on what it asks for.
type SignedRequest struct {
	// Protected header, base64url.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=16384
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_-]+$`
	Protected string `json:"protected"`

	// Payload, base64url.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_-]*$`
	Payload string `json:"payload,omitempty"`

	// Signature, base64url.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_-]+$`
	Signature string `json:"signature"`
}

// Identifier is what a certificate is for (RFC 8555 section 7.1.3).
type Identifier struct {
	// Type of the identifier.
	// +required
	// +kubebuilder:validation:Enum=dns;ip
	Type acme.IdentifierType `json:"type"`

	// Value in its normal form: a name in lower case without a final dot, an address as RFC 5952 writes it.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	Value string `json:"value"`
}

// ACME gives the identifier in the protocol's own type.
func (i Identifier) ACME() acme.Identifier { return acme.Identifier(i) }

// Problem is a problem document (RFC 9457 with RFC 8555 section 6.7): why something failed, in the words that the
// client is given.
type Problem struct {
	// Type is the last part of the ACME error URN, such as "connection" or "rejectedIdentifier".
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	Type acme.ProblemType `json:"type"`

	// Detail says what is wrong.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Detail string `json:"detail,omitempty"`

	// Status is the HTTP status that goes with it.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=599
	Status int `json:"status,omitempty"`

	// Identifier that it is about.
	// +optional
	Identifier *Identifier `json:"identifier,omitempty"`

	// Subproblems, one for each identifier at fault.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	Subproblems []Subproblem `json:"subproblems,omitempty"`
}

// Subproblem is a problem with a single identifier (RFC 8555 section 6.7.1).
type Subproblem struct {
	// Type is the last part of the ACME error URN.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	Type acme.ProblemType `json:"type"`

	// Detail says what is wrong.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Detail string `json:"detail,omitempty"`

	// Identifier that it is about.
	// +optional
	Identifier *Identifier `json:"identifier,omitempty"`
}

// ProblemFrom stores a problem.
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

// ACME gives the problem in the protocol's own type.
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

// Deactivation ends an account or an authorization for good.
type Deactivation struct {
	// Request by which the client asked for it (RFC 8555 section 7.3.6 and 7.5.2). It is absent when a person did so
	// through the Kubernetes API, which the ACME server may not.
	// +optional
	Request *SignedRequest `json:"request,omitempty"`
}

// ConditionReady is the condition type that sums up an object: an issuer that can issue, an order that has its
// certificate. The reasons are listed with each kind.
const ConditionReady = "Ready"

// Conditions is the usual list of conditions.
type Conditions = []metav1.Condition
