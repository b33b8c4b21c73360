// Package issuers holds the loaded issuers, which the controllers of accounts, authorizations, orders and CRLs share, and the
// compromised keys of each issuer.
package issuers

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/validation"
	"github.com/acmeca/acmeca/internal/policy"
	"github.com/acmeca/acmeca/internal/policy/pods"
)

// Issuer is a loaded AcmeIssuer: its spec is checked and compiled, its CA key in memory. An Issuer is immutable; the issuer
// controller replaces it as a whole.
type Issuer struct {
	Name string
	// Generation is metadata.generation of Spec.
	Generation int64
	Spec       v1alpha1.AcmeIssuerSpec
	Bases      []acme.Base
	// PlainBase is the URL without TLS under which the CRLs and CA certificates are served that certificates name.
	PlainBase string
	Policy    *policy.Policy
	// Pods are the rules for certificates of Pods; nil for none.
	Pods      *pods.Policy
	Validator validation.Checker
	Authority *ca.Authority
	// Retired are CAs before Authority, which only sign CRLs for what they issued.
	Retired []*ca.Authority
	// NextRootDue is when the CA's next root will replace the root; zero if none is published.
	NextRootDue time.Time
	// Roots are the roots of a CA that the operator made, which are trusted now.
	Roots []Root
	// Revoked are the certificates of Authority and Retired that a root revoked.
	Revoked []*x509.Certificate
	// CACRLs are the published CRLs of the other CAs above Authority and Retired, if spec.ca.crls is set.
	CACRLs []CACRL
	// Chain is the PEM that follows a certificate, Bundle that of the roots to trust.
	Chain, Bundle []byte
	// ChainID is the id of Chain in status.chains; "" if it is not there.
	ChainID string
	// ServerChain is the PEM of the ACME server's own certificate, with its chain; nil if this is not the default issuer, or if the
	// certificate could not be brought up to date.
	ServerChain []byte
	// CRLShards is the number of CRL shards that certificates name, by the name of their CA.
	CRLShards map[string]int
	// CAKeys are the public keys of all the CA's certificates, which no other certificate may have.
	CAKeys   []crypto.PublicKey
	Profiles map[string]*ca.Profile
	// Warning asks a person to act though certificates are issued; "" for none.
	Warning string
	// Notice informs a person who need not act; "" for none.
	Notice string
	// Fault keeps the issuer from issuing; nil if it can issue. An issuer with a Fault may have an Authority, to revoke with.
	Fault *Fault
	// External is the status of the key in spec.ca.external; nil without one.
	External *v1alpha1.ExternalStatus
	// Ending is set while the issuer is being deleted: its next CRLs are its last.
	Ending bool
}

// Warn adds to the issuer's warning.
func (i *Issuer) Warn(format string, args ...any) {
	if i.Warning != "" {
		i.Warning += "; "
	}
	i.Warning += fmt.Sprintf(format, args...)
}

// CRLOf returns the name of the CRL that an order's certificate names.
func (i *Issuer) CRLOf(order *v1alpha1.AcmeOrder) string {
	return v1alpha1.CRLName(i.Authority.Certificate(), i.Spec.CRL.Shards, string(order.UID))
}

// CRLURL returns the URL of a CRL.
func (i *Issuer) CRLURL(name string) string {
	return i.PlainBase + "/" + acme.CRLPrefix + name + acme.CRLSuffix
}

// CertificateURL returns the URL of the issuing CA's certificate.
func (i *Issuer) CertificateURL() string {
	return i.PlainBase + "/" + acme.CAPrefix + v1alpha1.CAName(i.Authority.Certificate()) + acme.CASuffix
}

// PublicKeys returns the public keys of all the CA's certificates.
func (i *Issuer) PublicKeys() []crypto.PublicKey {
	var keys []crypto.PublicKey
	for _, authority := range i.Authorities() {
		for _, c := range append(authority.FullChain(), authority.TrustAnchors()...) {
			keys = append(keys, c.PublicKey)
		}
	}
	for _, text := range [][]byte{i.Chain, i.Bundle} {
		certificates, _ := ca.ParseCertificates(text) // which the controllers wrote
		for _, c := range certificates {
			keys = append(keys, c.PublicKey)
		}
	}
	return keys
}

// AuthorityOf returns the CA or root that signs a CRL; nil if the issuer has none.
func (i *Issuer) AuthorityOf(crl string) *ca.Authority {
	for _, authority := range i.Authorities() {
		if v1alpha1.CAName(authority.Certificate()) == v1alpha1.CompleteCRL(crl) {
			return authority
		}
	}
	root, _ := i.RootOf(crl)
	return root.Authority
}

// Authorities returns all CAs of the issuer, the issuing one first.
func (i *Issuer) Authorities() []*ca.Authority {
	return append([]*ca.Authority{i.Authority}, i.Retired...)
}

// CRLs returns the names of all CRLs: the complete CRL and the shards of each CA, and the CRLs of roots; none for a nil Issuer.
func (i *Issuer) CRLs() []string {
	if i == nil {
		return nil
	}
	var names []string
	for _, authority := range i.Authorities() {
		names = append(names, v1alpha1.CAName(authority.Certificate()))
		names = append(names, i.Shards(authority)...)
	}
	for _, root := range i.Roots {
		names = append(names, v1alpha1.CAName(root.Certificate))
	}
	return names
}

// Shards returns the names of the CRL shards of a CA.
func (i *Issuer) Shards(authority *ca.Authority) []string {
	var names []string
	for number := range i.CRLShards[v1alpha1.CAName(authority.Certificate())] {
		names = append(names, v1alpha1.CRLShardName(authority.Certificate(), number))
	}
	return names
}

// Registry holds the loaded issuers for the other controllers. The issuer controller alone writes it.
type Registry struct {
	mu     sync.RWMutex
	byName map[types.NamespacedName]*Issuer
	crls   map[CRLRequest]string
	// named is the number of CRL shards that orders name, by the request for the complete CRL.
	named map[CRLRequest]int
}

// ReadyToIssue returns an issuer that can issue.
func (s *Registry) ReadyToIssue(namespace, name string) (*Issuer, bool) {
	issuer, ok := s.Loaded(namespace, name)
	if !ok || issuer.Fault != nil {
		return nil, false
	}
	return issuer, true
}

// Loaded returns an issuer that can revoke. It may have a Fault that keeps it from issuing, such as an invalid spec.
func (s *Registry) Loaded(namespace, name string) (*Issuer, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	issuer, ok := s.byName[types.NamespacedName{Namespace: namespace, Name: name}]
	return issuer, ok
}

// Put stores an issuer.
func (s *Registry) Put(key types.NamespacedName, issuer *Issuer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byName == nil {
		s.byName = map[types.NamespacedName]*Issuer{}
	}
	s.byName[key] = issuer
}

// NoteCRL notes the CRL that an order's certificate names.
func (s *Registry) NoteCRL(crl CRLRequest) {
	number := v1alpha1.ShardNumber(crl.Name)
	if number < 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.named == nil {
		s.named = map[CRLRequest]int{}
	}
	s.named[crl.Complete()] = max(s.named[crl.Complete()], number+1)
}

// NamedShards returns the number of CRL shards that the orders of an issuer name, among those of a CA.
func (s *Registry) NamedShards(issuer types.NamespacedName, authority string) int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.named[CRLRequest{Namespace: issuer.Namespace, Issuer: issuer.Name, Name: authority}]
}

// CRLRequests lists the CRLs of an issuer; none if it is not loaded.
func (s *Registry) CRLRequests(issuer types.NamespacedName) []CRLRequest {
	loaded, _ := s.Loaded(issuer.Namespace, issuer.Name)
	var requests []CRLRequest
	for _, name := range loaded.CRLs() {
		requests = append(requests, CRLRequest{Namespace: issuer.Namespace, Issuer: issuer.Name, Name: name})
	}
	return requests
}

// SetCRLWarning sets the warning of a CRL, which the issuer's condition shows; "" for none.
func (s *Registry) SetCRLWarning(crl CRLRequest, warning string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case warning == "":
		delete(s.crls, crl)
	case s.crls == nil:
		s.crls = map[CRLRequest]string{crl: warning}
	default:
		s.crls[crl] = warning
	}
}

// CRLWarnings returns the warnings of an issuer's CRLs, sorted.
func (s *Registry) CRLWarnings(key types.NamespacedName) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var warnings []string
	for crl, warning := range s.crls {
		if crl.Namespace == key.Namespace && crl.Issuer == key.Name {
			warnings = append(warnings, "CRL "+crl.Name+": "+warning)
		}
	}
	slices.Sort(warnings)
	return warnings
}

// Remove removes an issuer, and all that is noted of its CRLs.
func (s *Registry) Remove(key types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byName, key)
	of := func(crl CRLRequest) bool { return crl.Namespace == key.Namespace && crl.Issuer == key.Name }
	maps.DeleteFunc(s.crls, func(crl CRLRequest, _ string) bool { return of(crl) })
	maps.DeleteFunc(s.named, func(crl CRLRequest, _ int) bool { return of(crl) })
}

// AffectsObjects reports whether the change since before requires the issuer's objects to be reconciled.
func (i *Issuer) AffectsObjects(before *Issuer) bool {
	return before == nil || before.Fault != nil && i.Fault == nil || i.changesGrants(before) || before.Spec.Suspend != i.Spec.Suspend ||
		!reflect.DeepEqual(before.Spec.PodCertificates, i.Spec.PodCertificates) ||
		before.Spec.CRL != i.Spec.CRL || !maps.Equal(before.CRLShards, i.CRLShards) ||
		!sameRoots(before.Roots, i.Roots) || before.rootCRLLifetime() != i.rootCRLLifetime() ||
		!slices.EqualFunc(before.Authorities(), i.Authorities(), func(a, b *ca.Authority) bool { return a.Certificate().Equal(b.Certificate()) })
}

// changesGrants reports whether the change since before can end the grants of unfinished orders.
func (i *Issuer) changesGrants(before *Issuer) bool {
	return !equality.Semantic.DeepEqual(before.Spec.Grants, i.Spec.Grants) || before.Spec.DefaultProfile != i.Spec.DefaultProfile
}

// CRLRequest asks to reconcile a CRL.
type CRLRequest struct {
	Namespace, Issuer, Name string
}

// ConfigMap returns the key of the ConfigMap that holds the CRL.
func (r CRLRequest) ConfigMap() client.ObjectKey {
	return client.ObjectKey{Namespace: r.Namespace, Name: v1alpha1.CRLConfigMap(r.Issuer, r.Name)}
}

// Complete returns the request for the complete CRL of the same CA.
func (r CRLRequest) Complete() CRLRequest {
	r.Name = v1alpha1.CompleteCRL(r.Name)
	return r
}

// IsComplete reports whether the CRL is the complete one of its CA.
func (r CRLRequest) IsComplete() bool { return r == r.Complete() }
