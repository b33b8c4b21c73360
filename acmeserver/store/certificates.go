package store

import (
	"context"

	"k8s.io/utils/lru"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/ordercache"
)

// maxRecent bounds the certificates that are kept, at about 2 KiB each.
const maxRecent = 2048

// RecentCertificates keeps the certificates that were issued last, which clients are about to download. The cache of orders
// does not hold certificates.
type RecentCertificates struct{ byOrder *lru.Cache }

// NewRecentCertificates returns an empty RecentCertificates.
func NewRecentCertificates() *RecentCertificates { return &RecentCertificates{lru.New(maxRecent)} }

// CacheOptions returns options for the ACME server's cache: it drops the fields that the server does not read, and hands
// certificates to r.
func (r *RecentCertificates) CacheOptions() cache.Options {
	return cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject:         map[client.Object]cache.ByObject{&v1alpha1.AcmeOrder{}: {Transform: r.compact}},
	}
}

// compact is a cache transform of orders.
func (r *RecentCertificates) compact(object any) (any, error) {
	if order, ok := object.(*v1alpha1.AcmeOrder); ok {
		if order.Status.Certificate != "" {
			r.byOrder.Add(order.UID, order.Status.Certificate)
		}
		ordercache.Compact(order)
	}
	return object, nil
}

// Certificate returns the PEM chain of an order's certificate, or "" if the order has none. The order may come from the
// cache.
func (s *Store) Certificate(ctx context.Context, order *v1alpha1.AcmeOrder) (string, error) {
	if order.Status.Certificate != "" {
		return order.Status.Certificate, nil
	}
	if text, ok := s.recent.byOrder.Get(order.UID); ok {
		return text.(string), nil
	}
	full, err := s.Orders.GetLive(ctx, client.ObjectKeyFromObject(order))
	if err != nil {
		return "", err
	}
	return full.Status.Certificate, nil
}
