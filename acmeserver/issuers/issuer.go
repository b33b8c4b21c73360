// Package issuers holds AcmeIssuers as the ACME server serves them.
package issuers

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/acmeserver/answer"
	"github.com/acmeca/acmeca/acmeserver/published"
	"github.com/acmeca/acmeca/acmeserver/store"
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/policy"
)

// Issuer is an AcmeIssuer, parsed. It is shared, and never changed.
type Issuer struct {
	Key    types.NamespacedName
	Spec   *v1alpha1.AcmeIssuerSpec
	Status *v1alpha1.AcmeIssuerStatus
	// Bases are the URLs that the issuer is served under.
	Bases []acme.Base
	// Roots are the certificates that clients are told to trust. Authorities are the CA certificates that sign or signed, the
	// one that issues now first. Both are empty before the issuer is ready.
	Roots, Authorities []*x509.Certificate
	// Deleted is set for an issuer that was deleted. Only its CA certificates are known.
	Deleted bool
	// CAKeys are the public keys of all the CA's certificates.
	CAKeys []crypto.PublicKey
	// Above are the CAs of the issuing chain above the one that issues.
	Above []*x509.Certificate
	// Revoked are the Authorities that a root of the issuer revoked.
	Revoked []*x509.Certificate
	// Policy is nil if the spec has no valid policy; Fault is set then.
	Policy *policy.Policy
	// Fault says why the issuer cannot issue now; nil if it can.
	Fault *acme.Problem
	// StorageFull is whether there is no room for new accounts and orders. StorageExceeded is whether there is no room for
	// other requests either, except those that revoke or deactivate.
	StorageFull, StorageExceeded bool
}

// Issuers finds issuers. It parses each AcmeIssuer once for every resourceVersion.
type Issuers struct {
	cached     client.Reader
	live       client.Reader
	published  *published.ConfigMaps
	namespaces []string

	mu     sync.Mutex
	parsed map[types.NamespacedName]parsedIssuer
	// pruneAt is the number of parsed issuers at which those that were deleted are dropped.
	pruneAt int
}

// leastPruneAt bounds the deleted issuers that are kept if there are few others.
const leastPruneAt = 64

type parsedIssuer struct {
	version string
	issuer  *Issuer
}

// New returns Issuers that reads AcmeIssuers from the cache, in some namespaces; none means all of them. live reads past the cache.
func New(cached, live client.Reader, configMaps *published.ConfigMaps, namespaces []string) *Issuers {
	return &Issuers{
		cached: cached, live: live, published: configMaps, namespaces: namespaces,
		parsed: map[types.NamespacedName]parsedIssuer{}, pruneAt: leastPruneAt,
	}
}

// Get returns an issuer. The errors are store.ErrNotFound and store.ErrUnavailable.
func (s *Issuers) Get(ctx context.Context, key types.NamespacedName) (*Issuer, error) {
	if !s.servesNamespace(key.Namespace) {
		return nil, store.NotFound("issuer") // the cache does not know the namespace
	}
	object := &v1alpha1.AcmeIssuer{}
	if err := s.cached.Get(ctx, key, object, client.UnsafeDisableDeepCopy); apierrors.IsNotFound(err) {
		s.mu.Lock()
		delete(s.parsed, key)
		s.mu.Unlock()
		return nil, store.NotFound("issuer")
	} else if err != nil {
		return nil, &store.Error{Kind: "issuer", Reason: store.ErrUnavailable, Cause: err}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.parsed[key]; ok && known.version == object.ResourceVersion {
		return known.issuer, nil
	}
	parsed := parse(object.DeepCopy())
	s.parsed[key] = parsedIssuer{object.ResourceVersion, parsed}
	if len(s.parsed) > s.pruneAt {
		s.prune(ctx)
	}
	return parsed, nil
}

// getLive returns the status of an issuer from the API server. The status is empty if the issuer was deleted.
func (s *Issuers) getLive(ctx context.Context, key types.NamespacedName) (*v1alpha1.AcmeIssuerStatus, error) {
	object := &v1alpha1.AcmeIssuer{}
	if err := s.live.Get(ctx, key, object); client.IgnoreNotFound(err) != nil {
		return nil, &store.Error{Kind: "issuer", Reason: store.ErrUnavailable, Cause: err}
	}
	return &object.Status, nil
}

// prune drops the issuers that were deleted and that nobody has asked for since.
func (s *Issuers) prune(ctx context.Context) {
	for key := range s.parsed {
		if apierrors.IsNotFound(s.cached.Get(ctx, key, &v1alpha1.AcmeIssuer{}, client.UnsafeDisableDeepCopy)) {
			delete(s.parsed, key)
		}
	}
	s.pruneAt = max(2*len(s.parsed), leastPruneAt)
}

// GetRetained returns an issuer, or the CA certificates of one that was deleted. Certificates point to CRLs and CA
// certificates that must stay available after the issuer.
func (s *Issuers) GetRetained(ctx context.Context, key types.NamespacedName, now time.Time) (*Issuer, error) {
	found, err := s.Get(ctx, key)
	if !errors.Is(err, store.ErrNotFound) || !s.servesNamespace(key.Namespace) {
		return found, err
	}
	retained, err := s.published.Retained(ctx, key, now)
	if err != nil {
		return nil, err
	}
	return &Issuer{
		Key: key, Deleted: true, Spec: &v1alpha1.AcmeIssuerSpec{}, Status: &v1alpha1.AcmeIssuerStatus{CABundle: retained.Roots},
		Roots: ParseCertificates([]byte(retained.Roots)), Authorities: ParseCertificates([]byte(retained.Authorities)),
	}, nil
}

func (s *Issuers) servesNamespace(namespace string) bool {
	return len(s.namespaces) == 0 || slices.Contains(s.namespaces, namespace)
}

func parse(object *v1alpha1.AcmeIssuer) *Issuer {
	i := &Issuer{
		Key: client.ObjectKeyFromObject(object), Spec: &object.Spec, Status: &object.Status,
		Roots: ParseCertificates([]byte(object.Status.CABundle)), Authorities: authorities(&object.Status), CAKeys: caPublicKeys(&object.Status),
		Revoked: ParseCertificates([]byte(object.Status.RevokedCertificates)),
	}
	for _, base := range object.Status.BaseURLs {
		i.Bases = append(i.Bases, acme.Base(base))
	}
	ready := meta.FindStatusCondition(object.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case ready == nil:
		i.Fault = answer.Unavailable("the issuer %q is being set up", object.Name)
	case ready.Reason == v1alpha1.ReasonSuspended || object.Spec.Suspend:
		i.Fault = answer.Unavailable("the issuer %q is suspended", object.Name)
	case ready.Status != "True":
		i.Fault = answer.Unavailable("the issuer %q can't issue now: %s", object.Name, ready.Message)
	}
	if stored := meta.FindStatusCondition(object.Status.Conditions, v1alpha1.ConditionStoragePressure); stored != nil {
		i.StorageExceeded = stored.Reason == v1alpha1.ReasonStorageLimitExceeded
		i.StorageFull = i.StorageExceeded || stored.Reason == v1alpha1.ReasonStorageLimitReached
	}
	var err error
	if i.Policy, err = policy.New(&object.Spec); err != nil && i.Fault == nil {
		i.Fault = answer.Unavailable("the issuer %q can't issue now: %v", object.Name, err)
	}
	if certificate := object.Status.IssuingCertificate; certificate != nil {
		chain := ParseCertificates([]byte(certificate.Chain))
		i.Above = chain[min(len(chain), 1):]
		if i.Policy != nil {
			i.Policy = i.Policy.Under(chain)
		}
	}
	return i
}

func authorities(status *v1alpha1.AcmeIssuerStatus) []*x509.Certificate {
	if status.IssuingCertificate == nil {
		return nil
	}
	found := ParseCertificates([]byte(status.IssuingCertificate.Chain))
	all := append(found[:min(len(found), 1)], ParseCertificates([]byte(status.RetiredCertificates))...)
	for _, revoked := range ParseCertificates([]byte(status.RevokedCertificates)) {
		if !slices.ContainsFunc(all, revoked.Equal) { // the issuing CA is in both until it is replaced
			all = append(all, revoked)
		}
	}
	return all
}

// IsRevoked reports whether a root of the issuer revoked a CA certificate.
func (i *Issuer) IsRevoked(authority *x509.Certificate) bool {
	return slices.ContainsFunc(i.Revoked, authority.Equal)
}

// caPublicKeys returns the public keys of the CA's certificates.
func caPublicKeys(status *v1alpha1.AcmeIssuerStatus) []crypto.PublicKey {
	text := status.CABundle + status.RetiredCertificates + status.RevokedCertificates
	if status.IssuingCertificate != nil {
		text += status.IssuingCertificate.Chain
	}
	return policy.CAKeys(ParseCertificates([]byte(text)))
}

// maxShards is the number of CRL shards that an issuer can have.
const maxShards = 256

// Shards returns the number of CRL shards of one of the issuer's CA certificates. That of a deleted issuer is not known, and neither
// is it before the controllers have written it to the status.
func (i *Issuer) Shards(ca *x509.Certificate) int {
	shards, ok := i.Status.ShardsOf(ca)
	switch {
	case i.Deleted:
		return maxShards
	case !ok:
		return i.Spec.CRL.Shards
	}
	return shards
}

// HasCRL reports whether an issuer can have a CRL of a name: the complete CRL of one of its CA certificates, or a shard. CRLs are not
// cached before they are read, so other names must not lead to a read.
func (i *Issuer) HasCRL(name string) bool {
	return slices.ContainsFunc(slices.Concat(i.Authorities, i.Roots, i.Above), func(ca *x509.Certificate) bool {
		number := v1alpha1.ShardNumber(name)
		return name == v1alpha1.CAName(ca) || number >= 0 && number < i.Shards(ca) && name == v1alpha1.CRLShardName(ca, number)
	})
}

// BaseFor returns the URL under which an unsigned request reached the issuer: the declared base whose host the client sent,
// or the preferred base. Undeclared hosts never appear in an answer. short selects the bases without namespace and name.
func (i *Issuer) BaseFor(host string, short bool) acme.Base {
	var preferred acme.Base
	for _, b := range i.Bases {
		if short == strings.HasSuffix(string(b), "/"+i.Key.Namespace+"/"+i.Key.Name) {
			continue
		}
		if preferred == "" {
			preferred = b
		}
		if u, err := url.Parse(string(b)); err == nil && sameHost(u.Host, host, u.Scheme) {
			return b
		}
	}
	return preferred
}

// sameHost reports whether two hosts of URLs with a scheme are equivalent (RFC 9110 section 4.2.3): case, the default port and
// the dot at the end of a DNS name make no difference.
func sameHost(a, b, scheme string) bool { return normalHost(a, scheme) == normalHost(b, scheme) }

func normalHost(host, scheme string) string {
	u := url.URL{Host: strings.ToLower(host)}
	name, port := u.Hostname(), u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[scheme]
	}
	return net.JoinHostPort(strings.TrimSuffix(name, "."), port)
}

// DomainNames returns the names by which records for dns-persist-01 name this issuer (draft-ietf-acme-dns-persist-02
// sections 3.1 and 3.2): its CAA identities, normalized. There are none if the issuer does not offer the challenge.
func (i *Issuer) DomainNames() []string {
	if !slices.Contains(i.Spec.Challenges.Types, acme.DNSPersist01) {
		return nil
	}
	var names []string
	for _, name := range i.Spec.Validation.CAAIdentities {
		id, problem := acme.Identifier{Type: acme.DNS, Value: strings.TrimSuffix(name, ".")}.Normalize()
		if problem == nil {
			names = append(names, id.Value)
		}
	}
	return names
}
