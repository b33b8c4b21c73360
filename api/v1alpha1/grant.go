package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// UngrantedPolicy decides about identifiers that no grant covers.
//
// +kubebuilder:validation:Enum=Challenge;Refuse
type UngrantedPolicy string

// The values of UngrantedPolicy.
const (
	// UngrantedChallenge makes the client prove control of the identifier.
	UngrantedChallenge UngrantedPolicy = "Challenge"
	// UngrantedRefuse refuses the identifier.
	UngrantedRefuse UngrantedPolicy = "Refuse"
)

// Grant authorizes accounts for identifiers without a challenge. A list that is empty grants nothing.
//
// A grant replaces the proof of control alone: the issuer's policy, its rules and CAA records hold as they do for other
// identifiers. Only names of the cluster's Services need no entry in policy.dns.allow if they are granted.
type Grant struct {
	// name of the grant. Orders record it.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`
	Name string `json:"name"`

	// externalAccountKeys lists IDs of external account keys. The grant is for the accounts that these keys bound.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	ExternalAccountKeys []string `json:"externalAccountKeys,omitempty"`

	// accounts lists names of AcmeAccounts. The grant is for these accounts.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	Accounts []string `json:"accounts,omitempty"`

	// dns lists domain names and patterns. "db.corp.example" is that name alone, and not the names below it.
	// ".corp.example" is all names below corp.example, but no wildcard. "*.corp.example" is that wildcard alone.
	// An entry of policy.dns.allow covers more: also the names below the entry.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=255
	// +kubebuilder:validation:items:Pattern=`^(\*?\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`
	DNS []string `json:"dns,omitempty"`

	// ips lists address ranges as CIDRs. policy.ip.allow must contain them too.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:Pattern=`^[0-9a-f.:]+/[0-9]+$`
	IPs []string `json:"ips,omitempty"`

	// allIdentifiers grants all domain names, wildcards and addresses that the issuer's policy allows. Do not set it unless the
	// accounts may impersonate every service that trusts this CA.
	// +optional
	AllIdentifiers bool `json:"allIdentifiers,omitempty"`

	// profiles lists the profiles of granted certificates. If empty, only the issuer's default profile is granted.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	Profiles []string `json:"profiles,omitempty"`

	// expires is the time at which the grant ends, in the format of an AcmeOrder's spec.notBefore. Without it the grant lasts
	// until it is removed.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:Pattern=`^[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	Expires *metav1.Time `json:"expires,omitempty"`
}
