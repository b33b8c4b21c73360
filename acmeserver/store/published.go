package store

import (
	"context"
	"crypto/x509"
	"sync"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

const (
	// crlAge is how long a CRL is served without being read again. A revocation must be visible within two seconds; the
	// controllers may use one of them.
	crlAge = 500 * time.Millisecond
	// crlTimeout bounds the read of a CRL.
	crlTimeout = 2 * time.Second
	// maxCRLs bounds the CRLs that are kept, at up to 1 MiB each.
	maxCRLs = 64
	// retainedAge is how long a deleted issuer is cached.
	retainedAge = 10 * time.Second
	// maxRetained bounds the deleted issuers that are cached, including names that never had an issuer.
	maxRetained = 256
	// retainedReads bounds the reads a second that anyone can cause, by asking for issuers that do not exist.
	retainedReads = 20
)

// Published reads the ConfigMaps in which the controllers publish CRLs, and the CA certificates of deleted issuers.
// ConfigMaps are not watched: a watch needs the permission to list all ConfigMaps.
type Published struct {
	live client.Reader
	pace *rate.Limiter

	mu       sync.Mutex
	crls     map[types.NamespacedName]*cachedCRL
	retained map[types.NamespacedName]cachedRetained
}

// NewPublished returns a Published that reads with the live client.
func NewPublished(live client.Reader) *Published {
	return &Published{
		live: live, pace: rate.NewLimiter(retainedReads, retainedReads),
		crls: map[types.NamespacedName]*cachedCRL{}, retained: map[types.NamespacedName]cachedRetained{},
	}
}

type cachedCRL struct {
	mu     sync.Mutex // held during a read, so that concurrent requests cost one read
	readAt time.Time
	// err is the error of the last read; der is the copy of the last one that succeeded, nil if there was no CRL.
	err error
	der []byte
	// nextUpdate is the time until which der is valid; zero until it is needed.
	nextUpdate time.Time
}

// read reads the CRL from its ConfigMap. It does not end with the client's request, since others wait for the same read.
func (c *cachedCRL) read(ctx context.Context, live client.Reader, name types.NamespacedName, now time.Time) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), crlTimeout)
	defer cancel()
	configMap := &corev1.ConfigMap{}
	err := live.Get(ctx, name, configMap)
	c.readAt, c.err = now, failure("CRL", client.IgnoreNotFound(err))
	if c.err == nil {
		c.der, c.nextUpdate = configMap.BinaryData[v1alpha1.CRLField], time.Time{} // none if the ConfigMap does not exist
	}
}

// isCurrent reports whether the copy is valid by itself.
func (c *cachedCRL) isCurrent(now time.Time) bool {
	if c.nextUpdate.IsZero() && c.der != nil {
		if list, err := x509.ParseRevocationList(c.der); err == nil {
			c.nextUpdate = list.NextUpdate
		}
	}
	return now.Before(c.nextUpdate)
}

// CRL returns the DER of the issuer's CRL for a shard. While the API server cannot be asked, it returns the last copy until
// the copy's nextUpdate. The errors are ErrNotFound and ErrUnavailable. Callers ask only for shards that the issuer can have.
func (p *Published) CRL(ctx context.Context, issuer types.NamespacedName, shard string, now time.Time) ([]byte, error) {
	name := types.NamespacedName{Namespace: issuer.Namespace, Name: v1alpha1.CRLConfigMap(issuer.Name, shard)}
	cached := p.crl(name)
	cached.mu.Lock()
	defer cached.mu.Unlock()
	if age := now.Sub(cached.readAt); age < 0 || age >= crlAge {
		cached.read(ctx, p.live, name, now)
	}
	switch {
	case cached.err != nil && !cached.isCurrent(now):
		return nil, cached.err
	case cached.der == nil:
		return nil, NotFound("CRL")
	}
	return cached.der, nil
}

func (p *Published) crl(name types.NamespacedName) *cachedCRL {
	p.mu.Lock()
	defer p.mu.Unlock()
	if cached, ok := p.crls[name]; ok {
		return cached
	}
	if len(p.crls) >= maxCRLs {
		clear(p.crls) // they are read again on demand
	}
	cached := &cachedCRL{}
	p.crls[name] = cached
	return cached
}

// Retained is published for an issuer that was deleted: its certificates say that these can be fetched here.
type Retained struct {
	// Roots and Authorities are the PEM of the roots, and of the CA certificates that signed.
	Roots, Authorities string
}

type cachedRetained struct {
	readAt time.Time
	issuer *Retained // nil if there is none
}

// Retained returns the certificates of a deleted issuer. The error is ErrNotFound if there are none, and ErrBusy if too
// many of them are asked for.
func (p *Published) Retained(ctx context.Context, issuer types.NamespacedName, now time.Time) (*Retained, error) {
	if len(validation.IsDNS1123Label(issuer.Namespace)) > 0 || len(validation.IsDNS1123Subdomain(issuer.Name)) > 0 {
		return nil, NotFound("issuer")
	}
	p.mu.Lock()
	cached, ok := p.retained[issuer]
	p.mu.Unlock()
	if age := now.Sub(cached.readAt); !ok || age < 0 || age >= retainedAge {
		if !p.pace.AllowN(now, 1) {
			return nil, &Error{Kind: "issuer", Reason: ErrBusy}
		}
		found, err := p.readRetained(ctx, issuer)
		if err != nil {
			return nil, err
		}
		cached = cachedRetained{now, found}
		p.mu.Lock()
		if len(p.retained) >= maxRetained {
			clear(p.retained) // they are read again on demand
		}
		p.retained[issuer] = cached
		p.mu.Unlock()
	}
	if cached.issuer == nil {
		return nil, NotFound("issuer")
	}
	return cached.issuer, nil
}

// readRetained returns nil if nothing is published for the issuer.
func (p *Published) readRetained(ctx context.Context, issuer types.NamespacedName) (*Retained, error) {
	configMap := &corev1.ConfigMap{}
	err := p.live.Get(ctx, types.NamespacedName{Namespace: issuer.Namespace, Name: v1alpha1.FormerConfigMap(issuer.Name)}, configMap)
	if apierrors.IsNotFound(err) || err == nil && configMap.Labels[v1alpha1.IssuerLabel] != issuer.Name {
		return nil, nil
	}
	if err != nil {
		return nil, failure("issuer", err)
	}
	return &Retained{Roots: configMap.Data[v1alpha1.TrustField], Authorities: configMap.Data[v1alpha1.AuthoritiesField]}, nil
}
