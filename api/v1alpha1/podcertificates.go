package v1alpha1

import (
	"crypto/sha256"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// PodCertificates makes the issuer a signer of certificates for Pods (PodCertificateRequest of certificates.k8s.io/v1, Kubernetes
// 1.37). The signer's name is "acmeca.dev/<namespace>.<issuer>".
//
// +kubebuilder:validation:XValidation:rule="has(self.trustDomain) || self.rules.all(r, !has(r.spiffeID) || !r.spiffeID)",message="trustDomain is required by a rule with spiffeID"
type PodCertificates struct {
	// trustDomain is the trust domain of SPIFFE IDs, such as "prod.example".
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$`
	TrustDomain string `json:"trustDomain,omitempty"`

	// rules decide which Pods get certificates, and with which names. The first rule that covers a Pod decides. A Pod that no
	// rule covers is denied.
	// +required
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Rules []PodCertificateRule `json:"rules"`
}

// PodCertificateRule grants certificates to Pods. A Pod is covered if its namespace, its ServiceAccount and the condition match.
//
// The expressions in the Common Expression Language (CEL) can use: pod (namespace, name, labels, hostname, subdomain),
// serviceAccount (name, labels), namespaceLabels, and services (the names of the Services that select the Pod). They cannot use
// annotations.
//
// +kubebuilder:validation:XValidation:rule="has(self.services) && self.services != 'Ignore' || has(self.spiffeID) && self.spiffeID || has(self.dnsNames)",message="a rule must grant names: set services, spiffeID or dnsNames"
type PodCertificateRule struct {
	// name of the rule, for messages and the audit log.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`
	Name string `json:"name"`

	// namespaceSelector selects namespaces by their labels. Select a namespace by its name with the label
	// kubernetes.io/metadata.name, and all namespaces with the operator Exists on that label.
	// +required
	// +kubebuilder:validation:XValidation:rule="has(self.matchLabels) && size(self.matchLabels) > 0 || has(self.matchExpressions) && size(self.matchExpressions) > 0",message="an empty selector would select all namespaces; to select all, use the operator Exists on the label kubernetes.io/metadata.name"
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector"`

	// serviceAccountSelector selects ServiceAccounts by their labels. The default is all ServiceAccounts of the selected namespaces.
	// +optional
	ServiceAccountSelector *metav1.LabelSelector `json:"serviceAccountSelector,omitempty"`

	// condition in CEL must be true of the Pod, such as "serviceAccount.name == 'web'".
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Condition string `json:"condition,omitempty"`

	// services decides about the names of the Services that select the Pod: "<service>.<namespace>.svc", and the same below the
	// cluster domain of spec.validation.clusterDomain. Ignore leaves them out. Optional adds the names of the Services that exist.
	// Required also waits until a Service selects the Pod. The default is Ignore.
	// +optional
	// +kubebuilder:default=Ignore
	Services PodServices `json:"services,omitempty"`

	// spiffeID adds the URI "spiffe://<trustDomain>/ns/<namespace>/sa/<ServiceAccount>".
	// +optional
	SPIFFEID bool `json:"spiffeID,omitempty"`

	// dnsNames in CEL is a list of more domain names, such as "services.map(s, pod.hostname + '.' + s + '.' + pod.namespace +
	// '.svc')".
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	DNSNames string `json:"dnsNames,omitempty"`

	// profile names the profile of the certificates. Its lifetime bounds theirs, and must be at least 1h. A Pod can ask for a shorter
	// one with maxExpirationSeconds, which is 24h by default. Programs that are clients too need a profile with the usage
	// clientAuth. The default is spec.defaultProfile.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Profile string `json:"profile,omitempty"`
}

// PodServices decides about the names of Services.
//
// +kubebuilder:validation:Enum=Ignore;Optional;Required
type PodServices string

// The values of PodServices.
const (
	// PodServicesIgnore grants no names of Services.
	PodServicesIgnore PodServices = "Ignore"
	// PodServicesOptional grants the names of the Services that select the Pod.
	PodServicesOptional PodServices = "Optional"
	// PodServicesRequired grants the names of the Services that select the Pod, and waits for the first.
	PodServicesRequired PodServices = "Required"
)

// PodSource is the Pod of an order that no ACME client made: the controllers issued the certificate for a PodCertificateRequest.
type PodSource struct {
	// namespace of the Pod.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`

	// name of the Pod.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// uid of the Pod.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	UID types.UID `json:"uid"`

	// serviceAccountName is the ServiceAccount of the Pod.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ServiceAccountName string `json:"serviceAccountName"`

	// nodeName is the node on which the Pod runs.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	NodeName string `json:"nodeName"`

	// requestUID is the uid of the PodCertificateRequest.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	RequestUID types.UID `json:"requestUID"`

	// rule is the rule of the issuer that granted the names.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Rule string `json:"rule"`

	// uri is the SPIFFE ID in the certificate.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	URI string `json:"uri,omitempty"`
}

// ConditionPodCertificates is the type of the condition that says whether the issuer serves Pods. An issuer without
// spec.podCertificates has no such condition.
const ConditionPodCertificates = "PodCertificates"

// Reasons of an AcmeIssuer's PodCertificates condition.
const (
	// ReasonPodsServed means that the issuer answers PodCertificateRequests. The condition is True.
	ReasonPodsServed = "Served"
	// ReasonPodsNotEnabled means that the controllers run without --pod-certificates.
	ReasonPodsNotEnabled = "NotEnabled"
	// ReasonPodsNotSupported means that the API server has no PodCertificateRequests of certificates.k8s.io/v1.
	ReasonPodsNotSupported = "NotSupported"
)

// PodSigner returns the signer name of an issuer. ClusterTrustBundle and PodCertificateRequests have the same one.
func PodSigner(namespace, issuer string) string { return TrustSigner(namespace, issuer) }

// IssuerOfSigner returns the issuer of a signer name. ok is false for a name that PodSigner does not return.
func IssuerOfSigner(signer string) (issuer types.NamespacedName, ok bool) {
	path, ok := strings.CutPrefix(signer, GroupVersion.Group+"/")
	if !ok {
		return issuer, false
	}
	namespace, name, ok := strings.Cut(path, ".")
	return types.NamespacedName{Namespace: namespace, Name: name}, ok && namespace != "" && name != ""
}

// PodOrderName returns the name of the order of a PodCertificateRequest in an issuer. The name depends only on the request, so
// creation of the object decides between concurrent controllers.
func PodOrderName(issuer string, request types.UID, created time.Time) string {
	sum := sha256.Sum256([]byte("acmeca.dev/pod-certificate\x00" + issuer + "\x00" + string(request)))
	return objectName(created, sum[:nameRandomLength])
}
