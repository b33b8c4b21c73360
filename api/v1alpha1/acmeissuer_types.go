package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
)

// AcmeIssuerSpec describes a certificate authority and the ACME service in front of it.
type AcmeIssuerSpec struct {
	// CA that signs.
	// +required
	CA CertificateAuthority `json:"ca"`

	// Profiles of certificates that clients may ask for. Without any there is one, "default", of 90 days.
	// +optional
	// +kubebuilder:default={{name: default}}
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Profiles []Profile `json:"profiles,omitempty"`

	// DefaultProfile is the profile of orders that name none; without it the first one.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	DefaultProfile string `json:"defaultProfile,omitempty"`

	// Policy says which identifiers this issuer may certify at all.
	// +optional
	// +kubebuilder:default={}
	Policy Policy `json:"policy,omitzero"`

	// Challenges that are offered.
	// +optional
	// +kubebuilder:default={}
	Challenges Challenges `json:"challenges,omitzero"`

	// Validation says how control of a name is checked, and what the checks may reach.
	// +optional
	// +kubebuilder:default={}
	Validation Validation `json:"validation,omitzero"`

	// Account says what is asked of those who register.
	// +optional
	// +kubebuilder:default={}
	Account AccountRules `json:"account,omitzero"`

	// CRL says how revocations are published.
	// +optional
	// +kubebuilder:default={}
	CRL CRL `json:"crl,omitzero"`

	// Lifetimes of what clients make.
	// +optional
	// +kubebuilder:default={}
	Lifetimes Lifetimes `json:"lifetimes,omitzero"`

	// Retention says when finished objects are removed.
	// +optional
	// +kubebuilder:default={}
	Retention Retention `json:"retention,omitzero"`

	// RateLimits bound what clients may make. None is in force by itself: some clients take a limit for a failure that lasts.
	// +optional
	RateLimits RateLimits `json:"rateLimits,omitzero"`

	// RenewalInfo has clients renew earlier than they would (RFC 9773).
	// +optional
	RenewalInfo RenewalInfo `json:"renewalInfo,omitzero"`

	// Trust says how the CA's roots are given to those who are to trust them.
	// +optional
	Trust Trust `json:"trust,omitzero"`

	// ExternalURLs are the bases under which clients may reach the ACME server, the preferred one first, such as
	// "https://acme.corp.example". Without any it is the operator's own (its --external-url). A client is never given a
	// URL on another base, whatever Host it sends.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:items:Pattern=`^https://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~-]+)*$`
	ExternalURLs []string `json:"externalURLs,omitempty"`

	// DeletionPolicy says what becomes of the CA's Secrets and of the CRLs when the issuer is deleted. With Retain they stay,
	// and an issuer that is made again under the name goes on with them.
	// +optional
	// +kubebuilder:default=Retain
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`

	// Suspend stops all that leads to issuance; what was issued can still be revoked, and CRLs are served.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// DeletionPolicy says what becomes of what the operator made for an issuer.
// +kubebuilder:validation:Enum=Retain;Delete
type DeletionPolicy string

// The values of DeletionPolicy.
const (
	// DeletionRetain leaves it: certificates that were issued stay as good as they were, and CRLs go on being served.
	DeletionRetain DeletionPolicy = "Retain"
	// DeletionDelete has Kubernetes delete it after the issuer: Secrets with keys that the operator made, the roots, the CRLs.
	DeletionDelete DeletionPolicy = "Delete"
)

// IssuerFinalizer keeps an issuer until its orders have ended, and its last CRLs are published.
const IssuerFinalizer = "acmeca.dev/issuer"

// CertificateAuthority is where the signing key comes from.
// +kubebuilder:validation:ExactlyOneOf=selfSigned;secretRef
type CertificateAuthority struct {
	// SelfSigned has the operator make a root and an intermediate, in Secrets named after the issuer.
	// +optional
	SelfSigned *SelfSignedCA `json:"selfSigned,omitempty"`

	// SecretRef names a kubernetes.io/tls Secret with a CA that you bring: tls.key, and in tls.crt the CA certificate
	// followed by those above it.
	// +optional
	SecretRef *ObjectRef `json:"secretRef,omitempty"`

	// Retired names kubernetes.io/tls Secrets of CAs that issued certificates here before. They go on signing CRLs for
	// those. The operator remembers by itself the intermediates that it has made.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Retired []ObjectRef `json:"retired,omitempty"`
}

// KeyAlgorithm names an algorithm and a size of key.
// +kubebuilder:validation:Enum=ECDSA-P256;ECDSA-P384;RSA-2048;RSA-3072;RSA-4096;Ed25519
type KeyAlgorithm string

// SelfSignedCA describes a CA that the operator makes.
type SelfSignedCA struct {
	// CommonName of the root; the intermediate's has " Intermediate" added. Without it the issuer's name.
	// +optional
	// +kubebuilder:validation:MaxLength=48
	// +kubebuilder:validation:Pattern=`^[ -~]*$`
	CommonName string `json:"commonName,omitempty"`

	// Organization in the names of root and intermediate.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[ -~]*$`
	Organization string `json:"organization,omitempty"`

	// KeyAlgorithm of root and intermediate.
	// +optional
	// +kubebuilder:default=ECDSA-P256
	KeyAlgorithm KeyAlgorithm `json:"keyAlgorithm,omitempty"`

	// RootLifetime is how long the root is valid.
	// +optional
	// +kubebuilder:default="87600h"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('24h') && duration(self) <= duration('350400h')",message="must be from 24h to 350400h (40 years)"
	RootLifetime metav1.Duration `json:"rootLifetime,omitzero"`

	// IntermediateLifetime is how long the intermediate is valid.
	// +optional
	// +kubebuilder:default="26280h"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1h') && duration(self) <= duration('350400h')",message="must be from 1h to 350400h (40 years)"
	IntermediateLifetime metav1.Duration `json:"intermediateLifetime,omitzero"`

	// RootOverlap is how long a new root is published in the trust bundle before anything is issued from it.
	// +optional
	// +kubebuilder:default="168h"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('8760h')",message="must be from 0s to 8760h"
	RootOverlap *metav1.Duration `json:"rootOverlap,omitempty"`
}

// Annotations by which a person has the keys of a selfSigned CA replaced ahead of time. A new value is a new request; any
// text will do, such as the date.
const (
	RotateIntermediateAnnotation = "acmeca.dev/rotate-intermediate"
	RotateRootAnnotation         = "acmeca.dev/rotate-root"
)

// Usage is an extended key usage that a profile may give (RFC 5280 section 4.2.1.12).
// +kubebuilder:validation:Enum=serverAuth;clientAuth
type Usage string

// The extended key usages that acmeca issues.
const (
	UsageServerAuth Usage = "serverAuth"
	UsageClientAuth Usage = "clientAuth"
)

// CertificateKeyAlgorithm names an algorithm of certificates' keys.
// +kubebuilder:validation:Enum=ECDSA-P256;ECDSA-P384;ECDSA-P521;RSA;Ed25519
type CertificateKeyAlgorithm string

// The algorithms of certificates' keys.
const (
	KeyECDSAP256 CertificateKeyAlgorithm = "ECDSA-P256"
	KeyECDSAP384 CertificateKeyAlgorithm = "ECDSA-P384"
	KeyECDSAP521 CertificateKeyAlgorithm = "ECDSA-P521"
	KeyRSA       CertificateKeyAlgorithm = "RSA"
	KeyEd25519   CertificateKeyAlgorithm = "Ed25519"
)

// Profile describes a kind of certificate (draft-ietf-acme-profiles).
// +kubebuilder:validation:XValidation:rule="!has(self.maxLifetime) || !has(self.lifetime) || duration(self.maxLifetime) >= duration(self.lifetime)",message="maxLifetime must not be below lifetime",fieldPath=".maxLifetime"
type Profile struct {
	// Name by which clients ask for it.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`
	Name string `json:"name"`

	// Description for people, shown in the directory.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^[ -~]*$`
	Description string `json:"description,omitempty"`

	// Lifetime of a certificate when the client asks for none.
	// +optional
	// +kubebuilder:default="2160h"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m') && duration(self) <= duration('87600h')",message="must be from 1m to 87600h"
	Lifetime metav1.Duration `json:"lifetime,omitzero"`

	// MaxLifetime bounds what a client may ask for with notAfter; without it Lifetime.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m') && duration(self) <= duration('87600h')",message="must be from 1m to 87600h"
	MaxLifetime *metav1.Duration `json:"maxLifetime,omitzero"`

	// Usages are the extended key usages that certificates get.
	// +optional
	// +listType=set
	// +kubebuilder:default={serverAuth}
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=2
	Usages []Usage `json:"usages,omitempty"`

	// KeyAlgorithms of certificates' keys that are taken; RSA stands for 2048 to 4096 bits. ECDSA-P521 is taken only where it
	// is named.
	// +optional
	// +listType=set
	// +kubebuilder:default={ECDSA-P256,ECDSA-P384,RSA,Ed25519}
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=5
	KeyAlgorithms []CertificateKeyAlgorithm `json:"keyAlgorithms,omitempty"`

	// MaxIdentifiers in one order.
	// +optional
	// +kubebuilder:default=100
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	MaxIdentifiers int `json:"maxIdentifiers,omitempty"`

	// KeepCommonName copies the CSR's common name, when it is one of the certificate's names.
	// +optional
	KeepCommonName bool `json:"keepCommonName,omitempty"`
}

// Policy bounds the identifiers of an issuer. A denial wins over an allowance.
type Policy struct {
	// DNS rules for domain names.
	// +optional
	// +kubebuilder:default={}
	DNS DNSPolicy `json:"dns,omitzero"`

	// IP rules for addresses.
	// +optional
	IP IPPolicy `json:"ip,omitzero"`

	// Rules of your own, all of which must be true.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Rules []PolicyRule `json:"rules,omitempty"`
}

// PolicyRule is an expression in the Common Expression Language that must be true of what a client asks for. It can name
// account (with id, contact and externalAccountKeyID), identifiers (a list, each with type, value and wildcard), profile, and
// csr (with keyAlgorithm: RSA, ECDSA or Ed25519, keySize in bits, and commonName). It is asked as soon as what it names is
// there: with a new authorization, with a new order, or when that is finalized, and again before a certificate is issued.
type PolicyRule struct {
	// Expression, such as "!identifiers.exists(i, i.wildcard) || account.externalAccountKeyID == 'edge'".
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Expression string `json:"expression"`

	// Message for a client for which it isn't true.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^[ -~]*$`
	Message string `json:"message,omitempty"`
}

// DNSPolicy lists domains: "corp.example" stands for that name and all below it, ".corp.example" for those below alone.
type DNSPolicy struct {
	// Allow these names; without any, every name but those of the cluster's Services (below "svc", and "svc" in the cluster's
	// domain), which have to be named here.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=254
	// +kubebuilder:validation:items:Pattern=`^\.?[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`
	Allow []string `json:"allow,omitempty"`

	// Deny these names.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=254
	// +kubebuilder:validation:items:Pattern=`^\.?[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`
	Deny []string `json:"deny,omitempty"`

	// AllowWildcards lets "*." names be certified where the name itself may be.
	// +optional
	// +kubebuilder:default=true
	AllowWildcards *bool `json:"allowWildcards,omitempty"`
}

// IPPolicy lists address ranges. An address belongs to whoever has it now, which inside a cluster changes by the minute,
// so none is certified unless its range is allowed.
type IPPolicy struct {
	// Allow these ranges, as CIDRs; without any, no address.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:XValidation:rule="isCIDR(self)",message="must be a CIDR such as 10.0.0.0/8"
	Allow []string `json:"allow,omitempty"`

	// Deny these ranges, as CIDRs.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:XValidation:rule="isCIDR(self)",message="must be a CIDR such as 10.0.0.0/8"
	Deny []string `json:"deny,omitempty"`
}

// Challenges says which challenges an issuer offers.
type Challenges struct {
	// Types that are offered, where the identifier allows them. dns-account-01 and dns-persist-01 are drafts, offered only
	// where they are listed; dns-persist-01 needs validation.caaIdentities, by which its records name this issuer.
	// +optional
	// +listType=set
	// +kubebuilder:default={http-01,dns-01,tls-alpn-01}
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=5
	// +kubebuilder:validation:items:Enum=http-01;dns-01;tls-alpn-01;dns-account-01;dns-persist-01
	Types []acme.ChallengeType `json:"types,omitempty"`

	// Subdomains lets a client prove control of a domain once, in DNS, and have certificates for all names below it
	// (RFC 9444).
	// +optional
	Subdomains bool `json:"subdomains,omitempty"`
}

// CAAMode says whether CAA records (RFC 8659) are heeded.
// +kubebuilder:validation:Enum=off;enforce
type CAAMode string

// The values of CAAMode.
const (
	CAAOff     CAAMode = "off"
	CAAEnforce CAAMode = "enforce"
)

// Validation says how challenges are checked.
// +kubebuilder:validation:XValidation:rule="!has(self.local) || self.local || (has(self.perspectives) && self.perspectives.size() > 0)",message="without local validation at least one perspective is needed"
// +kubebuilder:validation:XValidation:rule="!has(self.quorum) || (has(self.perspectives) && self.quorum <= self.perspectives.size())",message="quorum must not be above the number of perspectives",fieldPath=".quorum"
type Validation struct {
	// Resolvers are the DNS servers to ask, as address or address:port, in this order; without any, those of the
	// controller's Pod.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:Pattern=`^[0-9a-fA-F:.\[\]]+$`
	Resolvers []string `json:"resolvers,omitempty"`

	// HTTPPort that http-01 is tried on.
	// +optional
	// +kubebuilder:default=80
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	HTTPPort int32 `json:"httpPort,omitempty"`

	// HTTPSPort that http-01 may be redirected to, beside HTTPPort.
	// +optional
	// +kubebuilder:default=443
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	HTTPSPort int32 `json:"httpsPort,omitempty"`

	// TLSPort that tls-alpn-01 is tried on.
	// +optional
	// +kubebuilder:default=443
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	TLSPort int32 `json:"tlsPort,omitempty"`

	// Timeout of one attempt.
	// +optional
	// +kubebuilder:default="10s"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('1m')",message="must be from 1s to 1m"
	Timeout metav1.Duration `json:"timeout,omitzero"`

	// AllowedCIDRs opens address ranges that validation doesn't connect to by itself: loopback, link-local, cloud
	// metadata.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:XValidation:rule="isCIDR(self)",message="must be a CIDR such as 10.0.0.0/8"
	AllowedCIDRs []string `json:"allowedCIDRs,omitempty"`

	// DeniedCIDRs closes address ranges, such as that of the cluster's Services. It wins over AllowedCIDRs.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:XValidation:rule="isCIDR(self)",message="must be a CIDR such as 10.0.0.0/8"
	DeniedCIDRs []string `json:"deniedCIDRs,omitempty"`

	// CAA says whether CAA records are heeded. Off by default: the records of a public domain name public CAs.
	// +optional
	// +kubebuilder:default=off
	CAA CAAMode `json:"caa,omitempty"`

	// CAAIdentities are the issuer domain names by which CAA records may name this issuer.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	CAAIdentities []string `json:"caaIdentities,omitempty"`

	// ClusterDomain is the domain of the cluster's Services. Names that end in ".svc" are looked up with it appended.
	// +optional
	// +kubebuilder:default=cluster.local
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`
	ClusterDomain string `json:"clusterDomain,omitempty"`

	// EgressProxy is what connections to what is validated go through; the resolvers are asked without it.
	// +optional
	EgressProxy *EgressProxy `json:"egressProxy,omitempty"`

	// Local is whether the controller validates from where it is. Without it the perspectives alone do, which is for
	// names that can be reached from there alone.
	// +optional
	// +kubebuilder:default=true
	Local *bool `json:"local,omitempty"`

	// Perspectives are validators (`acmeca validator`) at other places of the network, which validate too.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=10
	Perspectives []Perspective `json:"perspectives,omitempty"`

	// Quorum is how many of the perspectives have to find a proof good, beside the controller itself; without it all.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10
	Quorum int32 `json:"quorum,omitempty"`
}

// EgressProxy is a way out of the network.
type EgressProxy struct {
	// URL of a proxy that knows HTTP CONNECT, "http://host:port", or SOCKS, "socks5://host:port".
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^(http|socks5)://[A-Za-z0-9.:\[\]-]+:[0-9]+$`
	URL string `json:"url"`

	// SecretRef names a kubernetes.io/basic-auth Secret with username and password for the proxy.
	// +optional
	SecretRef *ObjectRef `json:"secretRef,omitempty"`
}

// Perspective is a validator at another place of the network.
type Perspective struct {
	// Name by which records and problems tell of it.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`
	Name string `json:"name"`

	// URL of the validator.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^https://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~-]+)*/?$`
	URL string `json:"url"`

	// CABundle has the certificates, in PEM, that the validator's has to be signed under.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32768
	CABundle string `json:"caBundle"`

	// ClientCertificateSecretRef names a kubernetes.io/tls Secret with the certificate that the validator knows this issuer
	// by.
	// +required
	ClientCertificateSecretRef ObjectRef `json:"clientCertificateSecretRef"`
}

// AccountRules says what is asked of those who register.
type AccountRules struct {
	// TermsOfService is the URL of terms that clients have to agree to.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^(https?://[!-~]+)?$`
	TermsOfService string `json:"termsOfService,omitempty"`

	// Website is a URL about this CA, shown in the directory.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^(https?://[!-~]+)?$`
	Website string `json:"website,omitempty"`

	// RequireContact has clients give a contact address.
	// +optional
	RequireContact bool `json:"requireContact,omitempty"`

	// ExternalAccountBinding says how accounts are tied to ones that you know (RFC 8555 section 7.3.4).
	// +optional
	ExternalAccountBinding ExternalAccountBinding `json:"externalAccountBinding,omitzero"`

	// MaxPendingOrders is how many orders an account may have that are neither valid nor invalid. Beyond it, new ones are
	// refused until some are finished, or have expired.
	// +optional
	// +kubebuilder:default=1000
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	MaxPendingOrders int `json:"maxPendingOrders,omitempty"`

	// MaxPendingAuthorizations is how many authorizations an account may have that are pending.
	// +optional
	// +kubebuilder:default=5000
	// +kubebuilder:validation:Minimum=100
	// +kubebuilder:validation:Maximum=100000
	MaxPendingAuthorizations int `json:"maxPendingAuthorizations,omitempty"`
}

// ExternalAccountBinding says how accounts are tied to ones that you know. A key with the id "team-a" is a Secret of type
// acmeca.dev/external-account-key named "<issuer>-eab-team-a" with the HMAC key in "hmac-key". It may have more entries:
// "expires" (RFC 3339), after which it binds no account; "reusable" ("true"), without which it is good for one account;
// "allowed-dns" and "allowed-ips", outside of which the account may have nothing, and "allowed-profiles": lists with commas
// or white space between their entries. They are copied to the account when it is bound.
type ExternalAccountBinding struct {
	// Required refuses new accounts without a binding. Accounts that exist go on; deactivate them to end them.
	// +optional
	Required bool `json:"required,omitempty"`
}

// CRL says how revocations are published.
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.shards) || (has(self.shards) && self.shards >= oldSelf.shards)",message="shards can't be lowered: certificates name the shard that they belong to",fieldPath=".shards"
type CRL struct {
	// Lifetime from a CRL's issue to its nextUpdate. It is made anew before half of it is over.
	// +optional
	// +kubebuilder:default="168h"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('10m') && duration(self) <= duration('8760h')",message="must be from 10m to 8760h"
	Lifetime metav1.Duration `json:"lifetime,omitzero"`

	// Shards are the parts that the list of revoked certificates is split into, of up to 16384 certificates each. A
	// certificate stays in the shard that it names, so that the number can be raised, but not lowered.
	// +optional
	// +kubebuilder:default=8
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=256
	Shards int `json:"shards,omitempty"`
}

// Lifetimes of what clients make.
type Lifetimes struct {
	// Order is how long a client has to finish an order.
	// +optional
	// +kubebuilder:default="168h"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m') && duration(self) <= duration('8760h')",message="must be from 1m to 8760h"
	Order metav1.Duration `json:"order,omitzero"`

	// PendingAuthorization is how long a client has to prove control of a name.
	// +optional
	// +kubebuilder:default="168h"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m') && duration(self) <= duration('8760h')",message="must be from 1m to 8760h"
	PendingAuthorization metav1.Duration `json:"pendingAuthorization,omitzero"`

	// Authorization is how long a proof counts.
	// +optional
	// +kubebuilder:default="168h"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m') && duration(self) <= duration('8760h')",message="must be from 1m to 8760h"
	Authorization metav1.Duration `json:"authorization,omitzero"`

	// ReuseAuthorizations lets a new order use the account's valid authorizations instead of asking for proof again.
	// +optional
	ReuseAuthorizations bool `json:"reuseAuthorizations,omitempty"`
}

// Retention says when finished objects are removed.
type Retention struct {
	// Orders are removed this long after their certificate has expired, or after they failed; authorizations this long
	// after they expired or failed.
	// +optional
	// +kubebuilder:default="720h"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m') && duration(self) <= duration('87600h')",message="must be from 1m to 87600h"
	Orders metav1.Duration `json:"orders,omitzero"`

	// Accounts are removed when they haven't ordered or authorized anything for this long, and nothing of theirs is left that
	// Orders keeps. Their clients have to register again then. An account that a person revoked stays.
	// +optional
	// +kubebuilder:default="8760h"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1h') && duration(self) <= duration('87600h')",message="must be from 1h to 87600h"
	Accounts metav1.Duration `json:"accounts,omitzero"`
}

// RateLimits bound what clients may make (RFC 8555 section 6.6). What counts is what is stored, so that they hold for all
// replicas of the ACME server together, give or take what is under way at the same moment.
type RateLimits struct {
	// NewOrders of an account, pre-authorizations among them. Renewals that say which certificate they replace (RFC 9773)
	// are free.
	// +optional
	NewOrders *RateLimit `json:"newOrders,omitempty"`

	// FailedValidations of an account for a name or address, after which it may not ask for that.
	// +optional
	FailedValidations *RateLimit `json:"failedValidations,omitempty"`

	// NewAccounts from an IPv4 address or an IPv6 network of 64 bits. While this is set, accounts note where they were
	// registered from. Behind a proxy it takes the ACME server's --trusted-proxy.
	// +optional
	NewAccounts *RateLimit `json:"newAccounts,omitempty"`
}

// RateLimit is how much of something there may be in any period.
type RateLimit struct {
	// Count that is allowed.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	Count int `json:"count"`

	// Period in which it is counted.
	// +optional
	// +kubebuilder:default="1h"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('168h')",message="must be from 1s to 168h"
	Period metav1.Duration `json:"period,omitzero"`
}

// RenewalInfo has clients renew earlier than they would. Those that speak RFC 9773 ask regularly, and without this are told
// to renew when two thirds of a certificate's life are over, or at once when it was revoked, when its root was replaced, or when the
// CA that issued it was taken away, as one is that was compromised. An intermediate that is replaced below the same root
// changes nothing for them.
type RenewalInfo struct {
	// RenewIssuedBefore has all certificates renewed that were issued before this time, such as before a mistake was
	// mended. Renewals are spread over a twenty-fourth of the certificates' lifetime from then on.
	// +optional
	RenewIssuedBefore *metav1.Time `json:"renewIssuedBefore,omitempty"`

	// ExplanationURL is where people find out why certificates are renewed early.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^https?://[!-~]+$`
	ExplanationURL string `json:"explanationURL,omitempty"`
}

// Trust says how the CA's roots are given to those who are to trust them. They are always in status.caBundle, under
// /ca.crt of the ACME server, and in the ConfigMap named "<issuer>-ca", under the key ca.crt.
type Trust struct {
	// ClusterTrustBundle publishes them in a ClusterTrustBundle too, for Pods of all namespaces. Its name is
	// "acmeca.dev:<namespace>.<issuer>:ca", its signer "acmeca.dev/<namespace>.<issuer>".
	// +optional
	ClusterTrustBundle bool `json:"clusterTrustBundle,omitempty"`
}

// AcmeIssuerStatus is what the controllers made of the issuer.
type AcmeIssuerStatus struct {
	// Conditions; see the constants for Ready's reasons.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// ObservedGeneration is the generation of the spec that the status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// DirectoryURL is what ACME clients are given.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	DirectoryURL string `json:"directoryURL,omitempty"`

	// BaseURLs are all the URLs that the issuer is served under, the preferred one first.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=1024
	BaseURLs []string `json:"baseURLs,omitempty"`

	// CABundle is the PEM of the root certificates to trust.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	CABundle string `json:"caBundle,omitempty"`

	// IssuingCertificate is the certificate that signs now.
	// +optional
	IssuingCertificate *IssuingCertificate `json:"issuingCertificate,omitempty"`

	// RetiredCertificates is the PEM of CA certificates that signed before it and still sign CRLs.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	RetiredCertificates string `json:"retiredCertificates,omitempty"`
}

// IssuingCertificate describes the CA certificate that signs now.
type IssuingCertificate struct {
	// Subject is its distinguished name (RFC 2253).
	// +required
	// +kubebuilder:validation:MaxLength=1024
	Subject string `json:"subject"`

	// SHA256 is the fingerprint of its DER, in lower-case hexadecimal.
	// +required
	// +kubebuilder:validation:MaxLength=64
	SHA256 string `json:"sha256"`

	// Chain is its PEM and that of the CA certificates above it, without the root: what clients are given after their
	// certificate.
	// +required
	// +kubebuilder:validation:MaxLength=65536
	Chain string `json:"chain"`

	// NotAfter is the last second of its validity.
	// +required
	NotAfter metav1.Time `json:"notAfter"`
}

// Reasons of an AcmeIssuer's Ready condition.
const (
	// ReasonReady : certificates are issued.
	ReasonReady = "Ready"
	// ReasonDegraded : certificates are issued, and the message says what a person should see to.
	ReasonDegraded = "Degraded"
	// ReasonSuspended : spec.suspend is set.
	ReasonSuspended = "Suspended"
	// ReasonDeleting : the issuer is being deleted, and ends what is under way.
	ReasonDeleting = "Deleting"
	// ReasonInvalidSpec : the message names the field of spec that can't be acted on.
	ReasonInvalidSpec = "InvalidSpec"
	// ReasonSecretUnavailable : a Secret that spec.validation names is absent or broken; the message says which.
	ReasonSecretUnavailable = "SecretUnavailable"
	// ReasonCAUnavailable : the CA's Secret is absent, broken, expired or can't sign; the message says which.
	ReasonCAUnavailable = "CAUnavailable"
)

// AcmeIssuer is a certificate authority and the ACME service in front of it.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=acmeissuers,shortName=acmeiss,categories=acme
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Directory",type=string,JSONPath=`.status.directoryURL`
// +kubebuilder:printcolumn:name="CA Expires",type=string,JSONPath=`.status.issuingCertificate.notAfter`,priority=1
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63",message="metadata.name must be no longer than 63 characters"
type AcmeIssuer struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what you want.
	// +required
	Spec AcmeIssuerSpec `json:"spec"`
	// Status is what is.
	// +optional
	Status AcmeIssuerStatus `json:"status,omitzero"`
}

// AcmeIssuerList is a list of issuers.
//
// +kubebuilder:object:root=true
type AcmeIssuerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []AcmeIssuer `json:"items"`
}
