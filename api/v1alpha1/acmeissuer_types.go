package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
)

// AcmeIssuerSpec describes a certificate authority and its ACME service.
type AcmeIssuerSpec struct {
	// ca is the certificate authority that signs.
	// +required
	CA CertificateAuthority `json:"ca"`

	// profiles lists the kinds of certificate that clients can order. The default is one profile named "default", with a
	// lifetime of 90 days.
	// +optional
	// +kubebuilder:default={{name: default}}
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Profiles []Profile `json:"profiles,omitempty"`

	// defaultProfile names the profile of orders that do not name one. The default is the first profile.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	DefaultProfile string `json:"defaultProfile,omitempty"`

	// policy limits the identifiers that this issuer certifies.
	// +optional
	// +kubebuilder:default={}
	Policy Policy `json:"policy,omitzero"`

	// grants authorizes accounts for identifiers without a challenge. What no grant covers is decided by policy.ungranted.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=128
	Grants []Grant `json:"grants,omitempty"`

	// challenges selects the offered challenges.
	// +optional
	// +kubebuilder:default={}
	Challenges Challenges `json:"challenges,omitzero"`

	// validation configures how control of an identifier is validated, and which addresses validation may connect to.
	// +optional
	// +kubebuilder:default={}
	Validation Validation `json:"validation,omitzero"`

	// account sets the requirements for accounts.
	// +optional
	// +kubebuilder:default={}
	Account AccountRules `json:"account,omitzero"`

	// crl configures the publication of revocations.
	// +optional
	// +kubebuilder:default={}
	CRL CRL `json:"crl,omitzero"`

	// lifetimes of orders and authorizations.
	// +optional
	// +kubebuilder:default={}
	Lifetimes Lifetimes `json:"lifetimes,omitzero"`

	// retention sets when finished objects are removed.
	// +optional
	// +kubebuilder:default={}
	Retention Retention `json:"retention,omitzero"`

	// rateLimits limit the objects of a client. No limit is set by default, because some clients treat a rate limit as a
	// permanent failure.
	// +optional
	RateLimits RateLimits `json:"rateLimits,omitzero"`

	// renewalInfo makes clients renew earlier than they would by themselves (RFC 9773).
	// +optional
	RenewalInfo RenewalInfo `json:"renewalInfo,omitzero"`

	// trust configures how the CA's root certificates are published.
	// +optional
	Trust Trust `json:"trust,omitzero"`

	// podCertificates makes the issuer a signer of certificates for Pods, which then need no ACME client. The controllers must run
	// with --pod-certificates.
	// +optional
	PodCertificates *PodCertificates `json:"podCertificates,omitempty"`

	// externalURLs lists the base URLs under which clients reach the ACME server, the preferred one first, such as
	// "https://acme.corp.example". The default is the operator's --external-url. The ACME server never returns a URL under
	// another base, even if the Host header of a request names one.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:items:Pattern=`^https://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~-]+)*$`
	ExternalURLs []string `json:"externalURLs,omitempty"`

	// deletionPolicy decides about the CA's Secrets and the CRLs when the issuer is deleted. Retain keeps them, and a new
	// issuer of the same name continues to use them. Delete removes them. The default is Retain.
	// +optional
	// +kubebuilder:default=Retain
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`

	// suspend stops issuance and every step that leads to it. Certificates can still be revoked, and CRLs are served.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// DeletionPolicy decides about the objects that the operator made for an issuer when the issuer is deleted.
//
// +kubebuilder:validation:Enum=Retain;Delete
type DeletionPolicy string

// The values of DeletionPolicy.
const (
	// DeletionRetain keeps the objects. Issued certificates remain valid, and CRLs are served as before.
	DeletionRetain DeletionPolicy = "Retain"
	// DeletionDelete makes Kubernetes delete the objects after the issuer: Secrets with generated keys, roots and CRLs.
	DeletionDelete DeletionPolicy = "Delete"
)

// IssuerFinalizer keeps an issuer until its orders are finished and its last CRLs are published.
const IssuerFinalizer = "acmeca.dev/issuer"

// CertificateAuthority is the source of the signing key.
//
// +kubebuilder:validation:ExactlyOneOf=selfSigned;secretRef;external
type CertificateAuthority struct {
	// selfSigned makes the operator generate a root and an intermediate CA, in Secrets named after the issuer.
	// +optional
	SelfSigned *SelfSignedCA `json:"selfSigned,omitempty"`

	// secretRef names a kubernetes.io/tls Secret with your own CA: tls.key, and in tls.crt the CA certificate followed by the
	// certificates above it.
	// +optional
	SecretRef *ObjectRef `json:"secretRef,omitempty"`

	// external names a key in the key service (--key-service of the controllers). Another CA signs its certificate.
	// +optional
	External *ExternalCA `json:"external,omitempty"`

	// retired lists kubernetes.io/tls Secrets of CAs that issued certificates for this issuer before. They continue to sign
	// CRLs for those certificates. Do not list intermediates that the operator generated: the operator keeps track of them. For a key
	// in the key service, tls.key contains "acmeca-key-service:" and the name of the key without the namespace.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Retired []ObjectRef `json:"retired,omitempty"`

	// crls lists where you keep the CRLs of the CAs above the CA certificates that you bring: of the root, and of every
	// intermediate above the issuing CA. The operator verifies these CRLs, and publishes them beside its own. The CRLs of a
	// selfSigned root are made by the operator.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	CRLs []CRLSource `json:"crls,omitempty"`
}

// ExternalCA is a CA whose key is in a key service, outside of the cluster.
type ExternalCA struct {
	// keyName names the key. Its name in the key service is the issuer's namespace, a dot, and this name, so that an issuer can't
	// use a key of another namespace. A key is not replaced under its name: a new key has a new name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=120
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	KeyName string `json:"keyName"`

	// chain is where the CA certificate is, followed by the certificates above it. Without it, or as long as the object does not
	// exist, the issuer waits, and status.external.certificateRequest contains the request for that certificate.
	// +optional
	Chain *ChainSource `json:"chain,omitempty"`

	// commonName in the request for the CA certificate. The default is the name of the issuer.
	// +optional
	// +kubebuilder:validation:MaxLength=48
	// +kubebuilder:validation:Pattern=`^[ -~]*$`
	CommonName string `json:"commonName,omitempty"`

	// organization in the request for the CA certificate.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[ -~]*$`
	Organization string `json:"organization,omitempty"`
}

// ChainSource names an entry of a ConfigMap or Secret that contains certificates.
//
// +kubebuilder:validation:ExactlyOneOf=configMapRef;secretRef
type ChainSource struct {
	// configMapRef names a ConfigMap.
	// +optional
	ConfigMapRef *ObjectRef `json:"configMapRef,omitempty"`

	// secretRef names a Secret. It needs no private key.
	// +optional
	SecretRef *ObjectRef `json:"secretRef,omitempty"`

	// key of the entry, with PEM. The default is tls.crt.
	// +optional
	// +kubebuilder:default=tls.crt
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	Key string `json:"key,omitempty"`
}

// CRLSource names an entry of a ConfigMap or Secret that contains CRLs.
//
// +kubebuilder:validation:ExactlyOneOf=configMapRef;secretRef
type CRLSource struct {
	// configMapRef names a ConfigMap, with the CRLs in data or binaryData.
	// +optional
	ConfigMapRef *ObjectRef `json:"configMapRef,omitempty"`

	// secretRef names a Secret.
	// +optional
	SecretRef *ObjectRef `json:"secretRef,omitempty"`

	// key of the entry: one CRL in DER, or one or more in PEM. The default is ca.crl.
	// +optional
	// +kubebuilder:default=ca.crl
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	Key string `json:"key,omitempty"`
}

// KeyAlgorithm is an algorithm and size of a CA key.
//
// +kubebuilder:validation:Enum=ECDSA-P256;ECDSA-P384;RSA-2048;RSA-3072;RSA-4096;Ed25519
type KeyAlgorithm string

// KeyStore is where the operator keeps the keys of a CA that it generates.
//
// +kubebuilder:validation:Enum=Secret;KeyService
type KeyStore string

// The values of KeyStore.
const (
	// KeyStoreSecret keeps the keys in Secrets.
	KeyStoreSecret KeyStore = "Secret"
	// KeyStoreKeyService makes the key service generate the keys and sign with them. The Secrets contain references.
	KeyStoreKeyService KeyStore = "KeyService"
)

// SelfSignedCA describes a CA that the operator generates.
type SelfSignedCA struct {
	// commonName of the root certificate. The common name of the intermediate is this name followed by " Intermediate". The
	// default is the name of the issuer.
	// +optional
	// +kubebuilder:validation:MaxLength=48
	// +kubebuilder:validation:Pattern=`^[ -~]*$`
	CommonName string `json:"commonName,omitempty"`

	// organization in the subject of root and intermediate.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[ -~]*$`
	Organization string `json:"organization,omitempty"`

	// keyAlgorithm of root and intermediate. The default is ECDSA-P256.
	// +optional
	// +kubebuilder:default=ECDSA-P256
	KeyAlgorithm KeyAlgorithm `json:"keyAlgorithm,omitempty"`

	// keyStore is where the keys are made and kept: Secret, or KeyService for the key service of the controllers (--key-service). A
	// change affects the next keys. The default is Secret.
	// +optional
	// +kubebuilder:default=Secret
	KeyStore KeyStore `json:"keyStore,omitempty"`

	// rootLifetime is the lifetime of the root certificate, from 24h to 350400h (40 years). The default is 87600h (10 years).
	// +optional
	// +kubebuilder:default="87600h"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('24h') && duration(self) <= duration('350400h')",message="must be from 24h to 350400h (40 years)"
	RootLifetime metav1.Duration `json:"rootLifetime,omitzero"`

	// intermediateLifetime is the lifetime of the intermediate certificate, from 1h to 350400h (40 years). The default is
	// 26280h (3 years).
	// +optional
	// +kubebuilder:default="26280h"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1h') && duration(self) <= duration('350400h')",message="must be from 1h to 350400h (40 years)"
	IntermediateLifetime metav1.Duration `json:"intermediateLifetime,omitzero"`

	// rootOverlap is the time between publication of a new root in the trust bundle and the first certificate issued under
	// it, from 0s to 8760h. The default is 168h.
	// +optional
	// +kubebuilder:default="168h"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('8760h')",message="must be from 0s to 8760h"
	RootOverlap *metav1.Duration `json:"rootOverlap,omitempty"`

	// rootCRLLifetime is the lifetime of the root's CRL, from issue to nextUpdate, from 10m to 87600h. Set a long one if you keep
	// the root's key outside of the cluster: without it, the root's CRL cannot be renewed. The default is
	// spec.crl.lifetime.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('10m') && duration(self) <= duration('87600h')",message="must be from 10m to 87600h"
	RootCRLLifetime *metav1.Duration `json:"rootCRLLifetime,omitempty"`

	// revoked lists CA certificates that the root revokes: intermediates and cross-certificates. The root's CRL lists them until
	// they expire. The operator stops using a revoked certificate at once, and replaces the intermediate if it is the current
	// one. Removing an entry does not undo the revocation.
	// +optional
	// +listType=map
	// +listMapKey=serial
	// +kubebuilder:validation:MaxItems=32
	Revoked []RevokedCA `json:"revoked,omitempty"`
}

// RevokedCA is a revoked CA certificate.
type RevokedCA struct {
	// serial number of the certificate, in lower-case hexadecimal with an even number of digits.
	// +required
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=40
	// +kubebuilder:validation:Pattern=`^([0-9a-f]{2})+$`
	Serial string `json:"serial"`

	// reason of the revocation (RFC 5280 section 5.3.1). It has no effect but to inform: certificates under a revoked CA
	// certificate are refused with any reason. The default is unspecified.
	// +optional
	// +kubebuilder:default=unspecified
	Reason CARevocationReason `json:"reason,omitempty"`
}

// CARevocationReason is the reason why a CA certificate was revoked.
//
// +kubebuilder:validation:Enum=unspecified;cACompromise;superseded;cessationOfOperation
type CARevocationReason string

// The reasons why a CA certificate is revoked.
const (
	CAUnspecified          CARevocationReason = "unspecified"
	CACompromise           CARevocationReason = "cACompromise"
	CASuperseded           CARevocationReason = "superseded"
	CACessationOfOperation CARevocationReason = "cessationOfOperation"
)

// Annotations that ask to replace the keys of a selfSigned CA early. Each new value is a new request. The value can be any
// text, such as the date.
const (
	RotateIntermediateAnnotation = "acmeca.dev/rotate-intermediate"
	RotateRootAnnotation         = "acmeca.dev/rotate-root"
)

// Usage is an extended key usage (RFC 5280 section 4.2.1.12).
//
// +kubebuilder:validation:Enum=serverAuth;clientAuth
type Usage string

// The extended key usages that acmeca issues.
const (
	UsageServerAuth Usage = "serverAuth"
	UsageClientAuth Usage = "clientAuth"
)

// CertificateKeyAlgorithm is an algorithm of certificate keys.
//
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
//
// +kubebuilder:validation:XValidation:rule="!has(self.maxLifetime) || !has(self.lifetime) || duration(self.maxLifetime) >= duration(self.lifetime)",message="maxLifetime must not be below lifetime",fieldPath=".maxLifetime"
type Profile struct {
	// name by which clients order the profile.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`
	Name string `json:"name"`

	// description for people, shown in the ACME directory.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^[ -~]*$`
	Description string `json:"description,omitempty"`

	// lifetime of a certificate if the client does not ask for one, from 1m to 87600h. The default is 2160h (90 days).
	// +optional
	// +kubebuilder:default="2160h"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m') && duration(self) <= duration('87600h')",message="must be from 1m to 87600h"
	Lifetime metav1.Duration `json:"lifetime,omitzero"`

	// maxLifetime is the longest lifetime that a client can ask for with notAfter, from 1m to 87600h. The default is
	// lifetime.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m') && duration(self) <= duration('87600h')",message="must be from 1m to 87600h"
	MaxLifetime *metav1.Duration `json:"maxLifetime,omitzero"`

	// usages lists the extended key usages of the certificates. The default is serverAuth.
	// +optional
	// +listType=set
	// +kubebuilder:default={serverAuth}
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=2
	Usages []Usage `json:"usages,omitempty"`

	// keyAlgorithms lists the accepted algorithms of certificate keys. RSA means 2048 to 4096 bits. The default is all but
	// ECDSA-P521.
	// +optional
	// +listType=set
	// +kubebuilder:default={ECDSA-P256,ECDSA-P384,RSA,Ed25519}
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=5
	KeyAlgorithms []CertificateKeyAlgorithm `json:"keyAlgorithms,omitempty"`

	// maxIdentifiers is the maximum number of identifiers in an order. The default is 100.
	// +optional
	// +kubebuilder:default=100
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	MaxIdentifiers int `json:"maxIdentifiers,omitempty"`

	// keepCommonName copies the common name of the CSR if it is one of the identifiers of the certificate.
	// +optional
	KeepCommonName bool `json:"keepCommonName,omitempty"`
}

// Policy limits the identifiers of an issuer. A denied identifier is refused even if it is also allowed.
type Policy struct {
	// dns is the policy for domain names.
	// +optional
	// +kubebuilder:default={}
	DNS DNSPolicy `json:"dns,omitzero"`

	// ip is the policy for IP addresses.
	// +optional
	IP IPPolicy `json:"ip,omitzero"`

	// rules are additional conditions. All of them must be true.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Rules []PolicyRule `json:"rules,omitempty"`

	// ungranted decides about identifiers that no entry of spec.grants covers for the account. Challenge makes the client prove
	// control of them. Refuse refuses them. The default is Challenge.
	// +optional
	// +kubebuilder:default=Challenge
	Ungranted UngrantedPolicy `json:"ungranted,omitempty"`
}

// PolicyRule is an expression in the Common Expression Language (CEL) that must be true of a client's request.
//
// The expression can use: account (id, contact, externalAccountKeyID), identifiers (a list of type, value and wildcard),
// profile, and csr (keyAlgorithm: RSA, ECDSA or Ed25519; keySize in bits; commonName). A rule is evaluated as soon as all
// variables that it uses are known: for a new authorization, for a new order or at finalization, and again before a
// certificate is issued.
type PolicyRule struct {
	// expression in CEL, such as "!identifiers.exists(i, i.wildcard) || account.externalAccountKeyID == 'edge'".
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Expression string `json:"expression"`

	// message for the client if the expression is false.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^[ -~]*$`
	Message string `json:"message,omitempty"`
}

// DNSPolicy lists domains. "corp.example" matches that name and all names below it. ".corp.example" matches only the names
// below it.
type DNSPolicy struct {
	// allow lists the allowed domains. If empty, all names are allowed except those of the cluster's Services: names below
	// "svc", and below "svc" in the cluster domain. Service names must be allowed explicitly.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=254
	// +kubebuilder:validation:items:Pattern=`^\.?[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`
	Allow []string `json:"allow,omitempty"`

	// deny lists the denied domains.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=254
	// +kubebuilder:validation:items:Pattern=`^\.?[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`
	Deny []string `json:"deny,omitempty"`

	// allowWildcards allows wildcard names ("*." and an allowed name). The default is true.
	// +optional
	// +kubebuilder:default=true
	AllowWildcards *bool `json:"allowWildcards,omitempty"`
}

// IPPolicy lists address ranges. No address is certified unless its range is allowed, because addresses in a cluster are
// reassigned within minutes.
type IPPolicy struct {
	// allow lists the allowed ranges as CIDRs. If empty, no address is allowed.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:XValidation:rule="isCIDR(self)",message="must be a CIDR such as 10.0.0.0/8"
	Allow []string `json:"allow,omitempty"`

	// deny lists the denied ranges as CIDRs.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:XValidation:rule="isCIDR(self)",message="must be a CIDR such as 10.0.0.0/8"
	Deny []string `json:"deny,omitempty"`
}

// Challenges selects the challenges that an issuer offers.
type Challenges struct {
	// types lists the offered challenge types. A type is offered if it can prove control of the identifier. The default is
	// http-01, dns-01 and tls-alpn-01. dns-account-01 and dns-persist-01 are drafts. dns-persist-01 needs
	// validation.caaIdentities, because its DNS records name the issuer.
	// +optional
	// +listType=set
	// +kubebuilder:default={http-01,dns-01,tls-alpn-01}
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=5
	// +kubebuilder:validation:items:Enum=http-01;dns-01;tls-alpn-01;dns-account-01;dns-persist-01
	Types []acme.ChallengeType `json:"types,omitempty"`

	// subdomains lets a client prove control of a domain once, by a DNS challenge, and order certificates for all names below
	// the domain (RFC 9444).
	// +optional
	Subdomains bool `json:"subdomains,omitempty"`
}

// CAAMode decides whether CAA records (RFC 8659) are checked.
//
// +kubebuilder:validation:Enum=off;enforce
type CAAMode string

// The values of CAAMode.
const (
	CAAOff     CAAMode = "off"
	CAAEnforce CAAMode = "enforce"
)

// TXTLookups decides which DNS servers are queried for TXT records.
//
// +kubebuilder:validation:Enum=authoritative;resolvers
type TXTLookups string

// The values of TXTLookups.
const (
	TXTAuthoritative TXTLookups = "authoritative"
	TXTResolvers     TXTLookups = "resolvers"
)

// Validation configures the validation of challenges.
//
// +kubebuilder:validation:XValidation:rule="!has(self.local) || self.local || (has(self.perspectives) && self.perspectives.size() > 0)",message="at least one perspective is required if local is false"
// +kubebuilder:validation:XValidation:rule="!has(self.quorum) || (has(self.perspectives) && self.quorum <= self.perspectives.size())",message="quorum must not be above the number of perspectives",fieldPath=".quorum"
type Validation struct {
	// resolvers lists the DNS servers, as address or address:port, in order of preference. The default is the DNS servers of
	// the controller's Pod.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:Pattern=`^[0-9a-fA-F:.\[\]]+$`
	Resolvers []string `json:"resolvers,omitempty"`

	// txtLookups decides which DNS servers are queried for the TXT records of dns-01, dns-account-01 and dns-persist-01:
	// authoritative or resolvers. With authoritative, the authoritative servers of the zone are queried first, and the
	// resolvers if those servers are unreachable or have no proof. A missing record is not cached then. In a zone that is
	// signed (DNSSEC) both must have the proof. The default is authoritative.
	// +optional
	// +kubebuilder:default=authoritative
	TXTLookups TXTLookups `json:"txtLookups,omitempty"`

	// httpPort is the port for http-01. The default is 80.
	// +optional
	// +kubebuilder:default=80
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	HTTPPort int32 `json:"httpPort,omitempty"`

	// httpsPort is a port that http-01 follows redirects to, in addition to httpPort. The default is 443.
	// +optional
	// +kubebuilder:default=443
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	HTTPSPort int32 `json:"httpsPort,omitempty"`

	// tlsPort is the port for tls-alpn-01. The default is 443.
	// +optional
	// +kubebuilder:default=443
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	TLSPort int32 `json:"tlsPort,omitempty"`

	// timeout of one validation attempt, from 1s to 1m. The default is 10s.
	// +optional
	// +kubebuilder:default="10s"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('1m')",message="must be from 1s to 1m"
	Timeout metav1.Duration `json:"timeout,omitzero"`

	// allowedCIDRs lists address ranges that validation may connect to although it refuses them by default: loopback,
	// link-local and cloud metadata addresses.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:XValidation:rule="isCIDR(self)",message="must be a CIDR such as 10.0.0.0/8"
	AllowedCIDRs []string `json:"allowedCIDRs,omitempty"`

	// deniedCIDRs lists address ranges that validation never connects to, such as the cluster's Service range. It takes
	// precedence over allowedCIDRs.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:XValidation:rule="isCIDR(self)",message="must be a CIDR such as 10.0.0.0/8"
	DeniedCIDRs []string `json:"deniedCIDRs,omitempty"`

	// caa decides whether CAA records are checked: off or enforce. The default is off, because the CAA records of public
	// domains name public CAs.
	// +optional
	// +kubebuilder:default=off
	CAA CAAMode `json:"caa,omitempty"`

	// caaIdentities lists the issuer domain names that identify this issuer in CAA records.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	CAAIdentities []string `json:"caaIdentities,omitempty"`

	// clusterDomain is the domain of the cluster's Services. It is appended to names that end in ".svc" before they are
	// resolved. The default is cluster.local.
	// +optional
	// +kubebuilder:default=cluster.local
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`
	ClusterDomain string `json:"clusterDomain,omitempty"`

	// egressProxy is the proxy for connections to validated hosts. DNS queries do not use it.
	// +optional
	EgressProxy *EgressProxy `json:"egressProxy,omitempty"`

	// local makes the controller itself validate. If false, only the perspectives validate, for names that are reachable only
	// from there. The default is true.
	// +optional
	// +kubebuilder:default=true
	Local *bool `json:"local,omitempty"`

	// perspectives lists validators (`acmeca validator`) in other networks that validate too.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=10
	Perspectives []Perspective `json:"perspectives,omitempty"`

	// quorum is the number of perspectives that must confirm a proof, in addition to the controller. The default is all.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10
	Quorum int32 `json:"quorum,omitempty"`
}

// EgressProxy is a proxy for outgoing connections.
type EgressProxy struct {
	// url of the proxy: "http://host:port" for HTTP CONNECT, or "socks5://host:port".
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^(http|socks5)://[A-Za-z0-9.:\[\]-]+:[0-9]+$`
	URL string `json:"url"`

	// secretRef names a kubernetes.io/basic-auth Secret with the username and password for the proxy.
	// +optional
	SecretRef *ObjectRef `json:"secretRef,omitempty"`
}

// Perspective is a validator in another network.
type Perspective struct {
	// name of the perspective in records and problems.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`
	Name string `json:"name"`

	// url of the validator.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^https://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~-]+)*/?$`
	URL string `json:"url"`

	// caBundle contains the CA certificates, PEM, that verify the validator's server certificate.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32768
	CABundle string `json:"caBundle"`

	// clientCertificateSecretRef names a kubernetes.io/tls Secret with the client certificate that authenticates this issuer
	// to the validator.
	// +required
	ClientCertificateSecretRef ObjectRef `json:"clientCertificateSecretRef"`
}

// AccountRules are the requirements for accounts.
type AccountRules struct {
	// termsOfService is the URL of the terms that clients must agree to.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^(https?://[!-~]+)?$`
	TermsOfService string `json:"termsOfService,omitempty"`

	// website is a URL with information about this CA, shown in the ACME directory.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^(https?://[!-~]+)?$`
	Website string `json:"website,omitempty"`

	// requireContact refuses accounts without a contact URL.
	// +optional
	RequireContact bool `json:"requireContact,omitempty"`

	// externalAccountBinding binds accounts to external accounts that you manage (RFC 8555 section 7.3.4).
	// +optional
	ExternalAccountBinding ExternalAccountBinding `json:"externalAccountBinding,omitzero"`

	// maxPendingOrders is the maximum number of unfinished orders of an account. More orders are refused until some are
	// finished or expired. The default is 1000.
	// +optional
	// +kubebuilder:default=1000
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	MaxPendingOrders int `json:"maxPendingOrders,omitempty"`

	// maxPendingAuthorizations is the maximum number of pending authorizations of an account. The default is 5000.
	// +optional
	// +kubebuilder:default=5000
	// +kubebuilder:validation:Minimum=100
	// +kubebuilder:validation:Maximum=100000
	MaxPendingAuthorizations int `json:"maxPendingAuthorizations,omitempty"`

	// maxKeyChanges is the maximum number of keys that an account can change to. Each leaves an object for the life of the
	// account. The default is 100.
	// +optional
	// +kubebuilder:default=100
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	MaxKeyChanges int `json:"maxKeyChanges,omitempty"`
}

// ExternalAccountBinding binds accounts to external accounts that you manage. The key with the ID "team-a" is a Secret of
// type acmeca.dev/external-account-key named "<issuer>-eab-team-a", with the HMAC key under "hmac-key".
//
// Optional entries: "expires" (RFC 3339) is the time after which the key binds no account. "reusable" with the value "true"
// lets the key bind several accounts; by default it binds one. "allowed-dns", "allowed-ips" and "allowed-profiles" limit the
// account; they are lists separated by commas or white space. The limits are copied to the account at registration.
type ExternalAccountBinding struct {
	// required refuses new accounts without a binding. Existing accounts are unaffected; deactivate them to end them.
	// +optional
	Required bool `json:"required,omitempty"`
}

// CRL configures the publication of revocations. Each CA certificate has a complete CRL without an issuing distribution point, which
// every program can read. It is as large as revocation gets, about 44 bytes for each revoked certificate.
type CRL struct {
	// lifetime of a CRL, from issue to nextUpdate, from 10m to 8760h. A CRL is replaced before half of its lifetime has passed.
	// The default is 168h.
	// +optional
	// +kubebuilder:default="168h"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('10m') && duration(self) <= duration('8760h')",message="must be from 10m to 8760h"
	Lifetime metav1.Duration `json:"lifetime,omitzero"`

	// shards distributes revoked certificates over a number of smaller CRLs, which new certificates name instead of the complete CRL.
	// Many programs cannot use a shard, because its issuing distribution point is critical. The complete CRL is published too, and
	// shards that certificates name stay published after a change. By default there are no shards.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=256
	Shards int `json:"shards,omitempty"`
}

// Lifetimes of orders and authorizations.
type Lifetimes struct {
	// order is the time that a client has to finish an order, from 1m to 8760h. The default is 168h.
	// +optional
	// +kubebuilder:default="168h"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m') && duration(self) <= duration('8760h')",message="must be from 1m to 8760h"
	Order metav1.Duration `json:"order,omitzero"`

	// pendingAuthorization is the time that a client has to prove control of an identifier, from 1m to 8760h. The default is
	// 168h.
	// +optional
	// +kubebuilder:default="168h"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m') && duration(self) <= duration('8760h')",message="must be from 1m to 8760h"
	PendingAuthorization metav1.Duration `json:"pendingAuthorization,omitzero"`

	// authorization is the time that a proof counts, from 1m to 8760h. The default is 168h.
	// +optional
	// +kubebuilder:default="168h"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m') && duration(self) <= duration('8760h')",message="must be from 1m to 8760h"
	Authorization metav1.Duration `json:"authorization,omitzero"`

	// reuseAuthorizations lets new orders use the account's valid authorizations instead of a new proof.
	// +optional
	ReuseAuthorizations bool `json:"reuseAuthorizations,omitempty"`

	// endAuthorizationsOnRevocation ends the authorizations of the account that ordered a certificate if the certificate is
	// revoked with its own key or by another account. The account must then prove control of those identifiers again.
	// +optional
	EndAuthorizationsOnRevocation bool `json:"endAuthorizationsOnRevocation,omitempty"`
}

// Retention sets when finished objects are removed.
type Retention struct {
	// orders is the time between the expiry of the certificate, or the failure of the order, and removal of the order, from 1m to
	// 87600h. The default is the lifetime of the certificate, but at most 720h, and at least the period of rateLimits.newOrders. A
	// failed order is kept 720h by default.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m') && duration(self) <= duration('87600h')",message="must be from 1m to 87600h"
	Orders metav1.Duration `json:"orders,omitzero"`

	// authorizations is the time between the end of an authorization and its removal, from 1m to 87600h. An authorization ends when
	// it expires or fails. One that only its own order can use ends with the proof, and is kept until that order is finished. It is
	// kept at least for the periods of rateLimits.failedValidations and newOrders. The default is 24h.
	// +optional
	// +kubebuilder:default="24h"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m') && duration(self) <= duration('87600h')",message="must be from 1m to 87600h"
	Authorizations metav1.Duration `json:"authorizations,omitzero"`

	// accounts is the time without new orders or authorizations after which an account is removed. An account is kept as long
	// as one of its orders or authorizations is kept. The client must register again after removal. Accounts that a person
	// revoked are never removed. From 1h to 87600h; the default is 8760h.
	// +optional
	// +kubebuilder:default="8760h"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1h') && duration(self) <= duration('87600h')",message="must be from 1h to 87600h"
	Accounts metav1.Duration `json:"accounts,omitzero"`
}

// RateLimits limit the objects of a client (RFC 8555 section 6.6). Limits count stored objects, so they apply to all
// replicas of the ACME server together. Concurrent requests can exceed a limit slightly.
type RateLimits struct {
	// newOrders limits the orders of an account, pre-authorizations included. Due renewals with the same names
	// (RFC 9773) do not count, unless they fail.
	// +optional
	NewOrders *RateLimit `json:"newOrders,omitempty"`

	// failedValidations limits the failed validations of an account for one identifier. Beyond the limit, the account cannot
	// order that identifier.
	// +optional
	FailedValidations *RateLimit `json:"failedValidations,omitempty"`

	// newAccounts limits the accounts registered from one IPv4 address or IPv6 /64 network. If set, new accounts record the
	// address in spec.registeredFrom. Behind a proxy, the limit needs the --trusted-proxy flag of the ACME server.
	// +optional
	NewAccounts *RateLimit `json:"newAccounts,omitempty"`

	// keyChanges limits how often an account changes to another key. spec.account.maxKeyChanges limits the number of its keys.
	// +optional
	KeyChanges *RateLimit `json:"keyChanges,omitempty"`

	// revocations limits the certificates of an account that clients revoke, whoever signs the request. A person's revocations
	// are not limited, but count.
	// +optional
	Revocations *RateLimit `json:"revocations,omitempty"`
}

// RateLimit is a maximum number of events in any period.
type RateLimit struct {
	// count is the maximum number of events in a period.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	Count int `json:"count"`

	// period in which events are counted, from 1s to 168h. The default is 1h.
	// +optional
	// +kubebuilder:default="1h"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('168h')",message="must be from 1s to 168h"
	Period metav1.Duration `json:"period,omitzero"`
}

// RenewalInfo makes clients renew early. Clients that support RFC 9773 ask regularly when to renew.
//
// By default they are told to renew after two thirds of the lifetime of a certificate. They are told to renew at once if the
// certificate was revoked, its root was replaced, or its issuing CA was removed, as a compromised CA is. An intermediate that
// is replaced under the same root does not change the time.
type RenewalInfo struct {
	// renewIssuedBefore makes clients renew all certificates that were issued before this time (RFC 3339, with upper-case "T"
	// and "Z", years 1000 to 2999), for example certificates issued with a mistake. Renewals are spread over 1/24 of the
	// lifetime of the certificates, starting at this time.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:Pattern=`^[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	RenewIssuedBefore *metav1.Time `json:"renewIssuedBefore,omitempty"`

	// explanationURL is a page that explains why certificates are renewed early.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^https?://[!-~]+$`
	ExplanationURL string `json:"explanationURL,omitempty"`
}

// Trust configures how the root certificates of the CA are published. They are always published in status.caBundle, at
// /ca.crt of the ACME server, and in the ConfigMap "<issuer>-ca" under the key ca.crt.
type Trust struct {
	// clusterTrustBundle also publishes the roots in a ClusterTrustBundle, for Pods in all namespaces. Its name is
	// "acmeca.dev:<namespace>.<issuer>:ca", and its signer "acmeca.dev/<namespace>.<issuer>".
	// +optional
	ClusterTrustBundle bool `json:"clusterTrustBundle,omitempty"`

	// labelledNamespaces also publishes the roots and the CRLs in other namespaces: in each namespace with the label
	// "trust.acmeca.dev/<issuer>: <namespace of the issuer>", in the ConfigMap "<namespace of the issuer>.<issuer>-ca". The
	// controllers need the right to list namespaces, which no installation has by default.
	// +optional
	LabelledNamespaces bool `json:"labelledNamespaces,omitempty"`
}

// AcmeIssuerStatus is the observed state of the issuer.
type AcmeIssuerStatus struct {
	// conditions of the issuer: Ready, StoragePressure and PodCertificates. The constants of the Go package list their reasons.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the metadata.generation of the spec that this status reflects.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// directoryURL is the URL to configure in ACME clients.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	DirectoryURL string `json:"directoryURL,omitempty"`

	// baseURLs lists all base URLs of the issuer, the preferred one first.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=1024
	BaseURLs []string `json:"baseURLs,omitempty"`

	// caBundle contains the root certificates to trust, PEM.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	CABundle string `json:"caBundle,omitempty"`

	// issuingCertificate is the CA certificate that currently signs.
	// +optional
	IssuingCertificate *IssuingCertificate `json:"issuingCertificate,omitempty"`

	// chains contains the chains of the certificates in stored orders, the current one first.
	// +optional
	// +listType=map
	// +listMapKey=id
	// +kubebuilder:validation:MaxItems=64
	Chains []Chain `json:"chains,omitempty"`

	// retiredCertificates contains the CA certificates, PEM, that no longer issue but still sign CRLs.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	RetiredCertificates string `json:"retiredCertificates,omitempty"`

	// revokedCertificates contains the intermediates, PEM, that the root has revoked and that still sign CRLs. Clients are told
	// to renew certificates of these intermediates at once.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	RevokedCertificates string `json:"revokedCertificates,omitempty"`

	// crlShards contains the number of CRL shards of each CA certificate that signs CRLs, including shards that only certificates from
	// before a change of spec.crl.shards name.
	// +optional
	// +listType=map
	// +listMapKey=ca
	// +kubebuilder:validation:MaxItems=64
	CRLShards []CRLShards `json:"crlShards,omitempty"`

	// trustNamespaces lists the namespaces in which the controllers publish the roots and the CRLs (spec.trust.labelledNamespaces).
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=500
	// +kubebuilder:validation:items:MaxLength=63
	TrustNamespaces []string `json:"trustNamespaces,omitempty"`

	// serverCertificate contains the certificate of the ACME server and the CA certificates above it, PEM, if this is the default
	// issuer. The ACME server presents it if it has the key, without waiting for the Secret to be mounted again.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	ServerCertificate string `json:"serverCertificate,omitempty"`

	// external describes the key of spec.ca.external.
	// +optional
	External *ExternalStatus `json:"external,omitempty"`
}

// ExternalStatus describes a key in a key service.
type ExternalStatus struct {
	// keyName is spec.ca.external.keyName.
	// +required
	// +kubebuilder:validation:MaxLength=120
	KeyName string `json:"keyName"`

	// publicKeySHA256 is the SHA-256 of the public key (SubjectPublicKeyInfo), in lower-case hexadecimal. A key service that has
	// another key under the name is refused.
	// +required
	// +kubebuilder:validation:MaxLength=64
	PublicKeySHA256 string `json:"publicKeySHA256"`

	// certificateRequest is the request for the CA certificate (PKCS #10), PEM, to be signed by the CA above it.
	// +optional
	// +kubebuilder:validation:MaxLength=8192
	CertificateRequest string `json:"certificateRequest,omitempty"`
}

// CRLShards is the number of CRL shards of a CA certificate.
type CRLShards struct {
	// ca is the name of the CA certificate, with which the names of its CRLs begin.
	// +required
	// +kubebuilder:validation:MaxLength=16
	CA string `json:"ca"`

	// shards is the number of shards, 0 if no certificate names a shard.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=256
	Shards int `json:"shards"`
}

// IssuingCertificate describes the CA certificate that currently signs.
type IssuingCertificate struct {
	// subject is the distinguished name (RFC 2253).
	// +required
	// +kubebuilder:validation:MaxLength=1024
	Subject string `json:"subject"`

	// sha256 is the SHA-256 fingerprint of the DER, in lower-case hexadecimal.
	// +required
	// +kubebuilder:validation:MaxLength=64
	SHA256 string `json:"sha256"`

	// chain contains the certificate and the CA certificates above it, without the root, PEM. Clients receive it after their
	// certificate.
	// +required
	// +kubebuilder:validation:MaxLength=65536
	Chain string `json:"chain"`

	// notAfter is the last second of validity.
	// +required
	NotAfter metav1.Time `json:"notAfter"`
}

// Reasons of an AcmeIssuer's Ready condition.
const (
	// ReasonReady means that the issuer issues certificates.
	ReasonReady = "Ready"
	// ReasonDegraded means that the issuer issues certificates, and the message names a fault that needs a person.
	ReasonDegraded = "Degraded"
	// ReasonSuspended means that spec.suspend is set.
	ReasonSuspended = "Suspended"
	// ReasonDeleting means that the issuer is being deleted, and its unfinished orders are ended.
	ReasonDeleting = "Deleting"
	// ReasonInvalidSpec means that a field of spec is invalid; the message names the field.
	ReasonInvalidSpec = "InvalidSpec"
	// ReasonTooManyIssuers means that the namespace has more issuers than the operator serves (--max-issuers-per-namespace), and
	// that older ones are served.
	ReasonTooManyIssuers = "TooManyIssuers"
	// ReasonSecretUnavailable means that a Secret named in spec.validation is missing or invalid; the message names it.
	ReasonSecretUnavailable = "SecretUnavailable"
	// ReasonCAUnavailable means that the CA's Secret is missing or invalid, or the CA certificate has expired or cannot sign; the
	// message contains the reason.
	ReasonCAUnavailable = "CAUnavailable"
	// ReasonKeyServiceUnavailable means that the key service, which holds the CA's key, does not answer, or does not have the key.
	// Orders wait, and CRLs are tried again.
	ReasonKeyServiceUnavailable = "KeyServiceUnavailable"
)

// ConditionStoragePressure is the type of the condition that says whether the issuer's objects, or those of all issuers, come
// near a limit of bytes in etcd. The controllers' flags --max-stored-bytes and --max-stored-bytes-per-issuer set the limits.
const ConditionStoragePressure = "StoragePressure"

// Reasons of an AcmeIssuer's StoragePressure condition.
const (
	// ReasonStorageWithinLimit means that less than 80 % of the limit is used. The condition is False.
	ReasonStorageWithinLimit = "WithinLimit"
	// ReasonStorageNearLimit means that at least 80 % of the limit is used. Nothing is refused yet.
	ReasonStorageNearLimit = "NearLimit"
	// ReasonStorageLimitReached means that the limit is used. New accounts, orders and pre-authorizations are refused.
	ReasonStorageLimitReached = "LimitReached"
	// ReasonStorageLimitExceeded means that more than 110 % of the limit is used. The ACME server stores nothing but
	// revocations and deactivations, and the controllers delete unfinished orders and authorizations.
	ReasonStorageLimitExceeded = "LimitExceeded"
)

// AcmeIssuer is a certificate authority and its ACME service.
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
	// metadata is the object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the desired state.
	// +required
	Spec AcmeIssuerSpec `json:"spec"`
	// status is the observed state.
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
