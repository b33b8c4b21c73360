package acmeserver

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

const (
	// formerAge is for how long it is remembered what there is of an issuer that was deleted.
	formerAge = 10 * time.Second
	// maxFormer bounds how many are remembered, and names under which there never was one.
	maxFormer = 256
	// formerReads bounds the reads a second that anyone can cause, by asking for what doesn't exist.
	formerReads = 20
)

// formerIssuers are issuers that were deleted. Their CRLs and CA certificates stay where certificates say that they are.
type formerIssuers struct {
	live client.Reader
	pace *rate.Limiter

	mu   sync.Mutex
	kept map[types.NamespacedName]formerIssuer
}

type formerIssuer struct {
	at     time.Time
	issuer *issuer // nil where there was none
}

func newFormerIssuers(live client.Reader) *formerIssuers {
	return &formerIssuers{live: live, pace: rate.NewLimiter(formerReads, formerReads), kept: map[types.NamespacedName]formerIssuer{}}
}

// outlives reports whether what is under a path is served after its issuer.
func outlives(path string) bool {
	return path == "ca.crt" || path == "ca.der" || strings.HasPrefix(path, acme.CRLPrefix) || strings.HasPrefix(path, acme.CAPrefix)
}

// issuerFor finds the issuer of a path. What outlives it is found after it was deleted, too.
func (s *Server) issuerFor(ctx context.Context, key types.NamespacedName, path string) (*issuer, error) {
	found, err := s.issuers.get(ctx, key)
	if !isNotFound(err) || !outlives(path) || len(s.issuers.namespaces) > 0 && !slices.Contains(s.issuers.namespaces, key.Namespace) {
		return found, err
	}
	return s.former.get(ctx, key, s.now())
}

func (f *formerIssuers) get(ctx context.Context, key types.NamespacedName, now time.Time) (*issuer, error) {
	if len(validation.IsDNS1123Label(key.Namespace)) > 0 || len(validation.IsDNS1123Subdomain(key.Name)) > 0 {
		return nil, notFound("issuer")
	}
	f.mu.Lock()
	known, ok := f.kept[key]
	f.mu.Unlock()
	if age := now.Sub(known.at); !ok || age < 0 || age >= formerAge {
		if !f.pace.AllowN(now, 1) {
			return nil, overloaded()
		}
		found, err := f.read(ctx, key)
		if err != nil {
			return nil, err
		}
		known = formerIssuer{now, found}
		f.mu.Lock()
		if len(f.kept) >= maxFormer {
			clear(f.kept) // they are read again
		}
		f.kept[key] = known
		f.mu.Unlock()
	}
	if known.issuer == nil {
		return nil, notFound("issuer")
	}
	return known.issuer, nil
}

func (f *formerIssuers) read(ctx context.Context, key types.NamespacedName) (*issuer, error) {
	configMap := &corev1.ConfigMap{}
	err := f.live.Get(ctx, types.NamespacedName{Namespace: key.Namespace, Name: v1alpha1.FormerConfigMap(key.Name)}, configMap)
	if apierrors.IsNotFound(err) || err == nil && configMap.Labels[v1alpha1.IssuerLabel] != key.Name {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	roots := configMap.Data[v1alpha1.TrustField]
	return &issuer{
		key: key, spec: &v1alpha1.AcmeIssuerSpec{}, status: &v1alpha1.AcmeIssuerStatus{CABundle: roots},
		roots: parseCertificates([]byte(roots)), authorities: parseCertificates([]byte(configMap.Data[v1alpha1.AuthoritiesField])),
	}, nil
}
