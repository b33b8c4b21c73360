package store

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/lru"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/ordercache"
)

const (
	// maxRecent bounds the certificates that are kept. Most take about 2 KiB with their chain.
	maxRecent = 2048
	// maxRecentBytes bounds their sum: a certificate of many names with a long chain takes 100 KiB.
	maxRecentBytes = 8 << 20
)

// RecentCertificates keeps the certificates that were issued last, which clients are about to download. The cache of orders
// does not hold certificates.
type RecentCertificates struct {
	byOrder *lru.Cache

	mu    sync.Mutex
	bytes int
}

// NewRecentCertificates returns an empty RecentCertificates.
func NewRecentCertificates() *RecentCertificates {
	r := &RecentCertificates{}
	r.byOrder = lru.NewWithEvictionFunc(maxRecent, func(_ lru.Key, kept any) { r.bytes -= kept.(Certificate).size() })
	return r
}

// Certificate is an order's certificate.
type Certificate struct {
	// PEM is status.certificate of the order, and Chain its status.chain.
	PEM, Chain string
}

func certificateOf(order *v1alpha1.AcmeOrder) Certificate {
	return Certificate{order.Status.Certificate, order.Status.Chain}
}

func (c Certificate) size() int { return len(c.PEM) + len(c.Chain) }

// add keeps the certificate of an order. It drops the ones that were used least recently beyond the bounds.
func (r *RecentCertificates) add(order types.UID, certificate Certificate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.byOrder.Get(order); known || certificate.size() > maxRecentBytes {
		return // an order has one certificate
	}
	r.bytes += certificate.size()
	r.byOrder.Add(order, certificate)
	for r.bytes > maxRecentBytes {
		r.byOrder.RemoveOldest()
	}
}

// CacheOptions returns options for the ACME server's cache: it drops the fields that the server does not read, and hands
// certificates to r.
func (r *RecentCertificates) CacheOptions() cache.Options {
	return cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&v1alpha1.AcmeOrder{}:         {Transform: r.compact},
			&v1alpha1.AcmeAuthorization{}: {Transform: dropHandled},
			&v1alpha1.AcmeAccount{}:       {Transform: dropHandled},
		},
	}
}

var stripManagedFields = cache.TransformStripManagedFields()

// dropHandled is a cache transform of authorizations and accounts.
func dropHandled(object any) (any, error) {
	ordercache.DropHandled(object)
	return stripManagedFields(object)
}

// compact is a cache transform of orders.
func (r *RecentCertificates) compact(object any) (any, error) {
	if order, ok := object.(*v1alpha1.AcmeOrder); ok {
		if order.Status.Certificate != "" {
			r.add(order.UID, certificateOf(order))
		}
		ordercache.Compact(order)
	}
	return object, nil
}

// Certificate returns an order's certificate, with an empty PEM if the order has none. The order may come from the cache.
func (s *Store) Certificate(ctx context.Context, order *v1alpha1.AcmeOrder) (Certificate, error) {
	if order.Status.Certificate != "" {
		return certificateOf(order), nil
	}
	if kept, ok := s.recent.byOrder.Get(order.UID); ok {
		return kept.(Certificate), nil
	}
	full, err := s.Orders.GetLive(ctx, client.ObjectKeyFromObject(order))
	if err != nil {
		return Certificate{}, err
	}
	return certificateOf(full), nil
}
