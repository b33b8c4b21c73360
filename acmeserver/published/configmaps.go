package published

import (
	"context"
	"sync"
	"time"
	"weak"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/acmeserver/store"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

const (
	// retainedAge is how long a deleted issuer is cached.
	retainedAge = 10 * time.Second
	// maxRetained bounds the deleted issuers that are cached, including names that never had an issuer.
	maxRetained = 256
	// retainedReads bounds the reads a second that anyone can cause, by asking for issuers that do not exist.
	retainedReads = 20
)

// ConfigMaps reads the ConfigMaps in which the controllers publish CRLs, and the CA certificates of deleted issuers. They are not
// watched: a watch needs the permission to list all ConfigMaps.
type ConfigMaps struct {
	live client.Reader
	pace *rate.Limiter

	mu       sync.Mutex
	crls     map[types.NamespacedName]*cachedCRL
	former   []weak.Pointer[CRL] // that were replaced or dropped; clients may still get them
	retained map[types.NamespacedName]cachedRetained
}

// New returns a ConfigMaps that reads with the live client.
func New(live client.Reader) *ConfigMaps {
	return &ConfigMaps{
		live: live, pace: rate.NewLimiter(retainedReads, retainedReads),
		crls: map[types.NamespacedName]*cachedCRL{}, retained: map[types.NamespacedName]cachedRetained{},
	}
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

// Retained returns the certificates of a deleted issuer. The error is store.ErrNotFound if there are none, and store.ErrBusy if too
// many of them are asked for.
func (p *ConfigMaps) Retained(ctx context.Context, issuer types.NamespacedName, now time.Time) (*Retained, error) {
	if len(validation.IsDNS1123Label(issuer.Namespace)) > 0 || len(validation.IsDNS1123Subdomain(issuer.Name)) > 0 {
		return nil, store.NotFound("issuer")
	}
	p.mu.Lock()
	cached, ok := p.retained[issuer]
	p.mu.Unlock()
	if age := now.Sub(cached.readAt); !ok || age < 0 || age >= retainedAge {
		if !p.pace.AllowN(now, 1) {
			return nil, &store.Error{Kind: "issuer", Reason: store.ErrBusy}
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
		return nil, store.NotFound("issuer")
	}
	return cached.issuer, nil
}

// readRetained returns nil if nothing is published for the issuer.
func (p *ConfigMaps) readRetained(ctx context.Context, issuer types.NamespacedName) (*Retained, error) {
	configMap := &corev1.ConfigMap{}
	err := p.live.Get(ctx, types.NamespacedName{Namespace: issuer.Namespace, Name: v1alpha1.FormerConfigMap(issuer.Name)}, configMap)
	if apierrors.IsNotFound(err) || err == nil && configMap.Labels[v1alpha1.IssuerLabel] != issuer.Name {
		return nil, nil
	}
	if err != nil {
		return nil, store.Failure("issuer", err)
	}
	return &Retained{Roots: configMap.Data[v1alpha1.TrustField], Authorities: configMap.Data[v1alpha1.AuthoritiesField]}, nil
}
