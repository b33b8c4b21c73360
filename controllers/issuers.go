package controllers

import (
	"crypto"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/validation"
	"github.com/acmeca/acmeca/internal/policy"
)

// Issuer is an AcmeIssuer that can issue: its spec checked and compiled, its key in memory. It is never changed, but
// replaced as a whole.
type Issuer struct {
	Name  string
	Spec  v1alpha1.AcmeIssuerSpec
	Bases []acme.Base
	// PlainBase is where what certificates point to is served without TLS.
	PlainBase string
	Policy    *policy.Policy
	Validator validation.Checker
	Authority *ca.Authority
	// Retired are CAs before Authority, which only sign CRLs for what they issued.
	Retired []*ca.Authority
	// Chain is the PEM that follows a certificate, Bundle that of the roots to trust.
	Chain, Bundle []byte
	// CAKeys are the public keys of all the CA's certificates, which no other certificate may have.
	CAKeys   []crypto.PublicKey
	Profiles map[string]*ca.Profile
	// Warning is what a person should see to though certificates are issued; "" for nothing.
	Warning string
	// fault keeps the issuer from issuing; it may have an Authority all the same, to revoke with.
	fault *fault
	// ending is set where the issuer is being deleted: what it publishes is its last.
	ending bool
}

func (i *Issuer) warn(format string, args ...any) {
	if i.Warning != "" {
		i.Warning += "; "
	}
	i.Warning += fmt.Sprintf(format, args...)
}

// shardOf is the CRL shard that an order's certificate belongs to.
func (i *Issuer) shardOf(order *v1alpha1.AcmeOrder) string {
	return v1alpha1.CRLShard(i.Authority.Certificate(), i.Spec.CRL.Shards, string(order.UID))
}

// crlURL is where a CRL shard is served, and certificateURL where the certificate is that signs now.
func (i *Issuer) crlURL(shard string) string {
	return i.PlainBase + "/" + acme.CRLPrefix + shard + acme.CRLSuffix
}

func (i *Issuer) certificateURL() string {
	return i.PlainBase + "/" + acme.CAPrefix + v1alpha1.CAName(i.Authority.Certificate()) + acme.CASuffix
}

// publicKeys are those of all the CA's certificates.
func (i *Issuer) publicKeys() []crypto.PublicKey {
	var keys []crypto.PublicKey
	for _, authority := range i.authorities() {
		for _, c := range append(authority.FullChain(), authority.TrustAnchors()...) {
			keys = append(keys, c.PublicKey)
		}
	}
	for _, text := range [][]byte{i.Chain, i.Bundle} {
		certificates, _ := ca.ParseCertificates(text) // which were written by this package
		for _, c := range certificates {
			keys = append(keys, c.PublicKey)
		}
	}
	return keys
}

// authorityOf finds the CA that signs a CRL shard.
func (i *Issuer) authorityOf(shard string) *ca.Authority {
	for _, authority := range i.authorities() {
		if strings.HasPrefix(shard, v1alpha1.CRLShardPrefix(authority.Certificate())) {
			return authority
		}
	}
	return nil
}

// authorities are all CAs of the issuer, the one that issues first.
func (i *Issuer) authorities() []*ca.Authority {
	return append([]*ca.Authority{i.Authority}, i.Retired...)
}

// shards are the names of all CRL shards; none of no issuer.
func (i *Issuer) shards() []string {
	if i == nil {
		return nil
	}
	var names []string
	for _, authority := range i.authorities() {
		for number := range max(i.Spec.CRL.Shards, 1) {
			names = append(names, v1alpha1.CRLShardName(authority.Certificate(), number))
		}
	}
	return names
}

// Issuers holds the issuers, for the controllers of what belongs to them. The issuer controller alone writes it.
type Issuers struct {
	mu     sync.RWMutex
	byName map[types.NamespacedName]*Issuer
	shards map[ShardRequest]string
}

// Get finds an issuer that can issue, by namespace and name.
func (s *Issuers) Get(namespace, name string) (*Issuer, bool) {
	issuer, ok := s.Revoking(namespace, name)
	if !ok || issuer.fault != nil {
		return nil, false
	}
	return issuer, true
}

// Revoking finds an issuer that can revoke, which goes on where a bad edit of its spec keeps it from issuing.
func (s *Issuers) Revoking(namespace, name string) (*Issuer, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	issuer, ok := s.byName[types.NamespacedName{Namespace: namespace, Name: name}]
	return issuer, ok
}

func (s *Issuers) set(key types.NamespacedName, issuer *Issuer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byName == nil {
		s.byName = map[types.NamespacedName]*Issuer{}
	}
	s.byName[key] = issuer
}

// shardRequests lists the CRL shards of an issuer; none if it is not loaded.
func (s *Issuers) shardRequests(issuer types.NamespacedName) []ShardRequest {
	loaded, _ := s.Revoking(issuer.Namespace, issuer.Name)
	var requests []ShardRequest
	for _, shard := range loaded.shards() {
		requests = append(requests, ShardRequest{Namespace: issuer.Namespace, Issuer: issuer.Name, Shard: shard})
	}
	return requests
}

// setShardWarning notes what a person should see to in a CRL shard, for the issuer's condition; "" for nothing.
func (s *Issuers) setShardWarning(shard ShardRequest, warning string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case warning == "":
		delete(s.shards, shard)
	case s.shards == nil:
		s.shards = map[ShardRequest]string{shard: warning}
	default:
		s.shards[shard] = warning
	}
}

// shardWarnings lists what was noted of an issuer's CRL shards.
func (s *Issuers) shardWarnings(key types.NamespacedName) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var warnings []string
	for shard, warning := range s.shards {
		if shard.Namespace == key.Namespace && shard.Issuer == key.Name {
			warnings = append(warnings, "CRL shard "+shard.Shard+": "+warning)
		}
	}
	slices.Sort(warnings)
	return warnings
}

func (s *Issuers) remove(key types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byName, key)
	maps.DeleteFunc(s.shards, func(shard ShardRequest, _ string) bool {
		return shard.Namespace == key.Namespace && shard.Issuer == key.Name
	})
}

// concernsOthers reports whether what belongs to the issuer has to be looked at because of what has changed in it.
func (i *Issuer) concernsOthers(before *Issuer) bool {
	return before == nil || before.fault != nil && i.fault == nil || before.Spec.Suspend != i.Spec.Suspend || before.Spec.CRL != i.Spec.CRL ||
		!slices.EqualFunc(before.authorities(), i.authorities(), func(a, b *ca.Authority) bool { return a.Certificate().Equal(b.Certificate()) })
}

// ShardRequest asks for a CRL shard to be looked at.
type ShardRequest struct {
	Namespace, Issuer, Shard string
}

// configMap is the ConfigMap that the shard's CRL is published in.
func (s ShardRequest) configMap() client.ObjectKey {
	return client.ObjectKey{Namespace: s.Namespace, Name: v1alpha1.CRLConfigMap(s.Issuer, s.Shard)}
}
