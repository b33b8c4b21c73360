package acmeserver

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/lru"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/ordercache"
)

// keptTexts is how many certificates are kept: those that clients are about to download. One takes about 2 KiB.
const keptTexts = 2048

// Texts keeps the certificates that were issued last, which the cache of orders doesn't.
type Texts struct{ byOrder *lru.Cache }

// NewTexts keeps none yet.
func NewTexts() *Texts { return &Texts{lru.New(keptTexts)} }

// CacheOptions keep out of the ACME server's cache what it doesn't read, and put certificates that pass by into t.
func (t *Texts) CacheOptions() cache.Options {
	return cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject:         map[client.Object]cache.ByObject{&v1alpha1.AcmeOrder{}: {Transform: t.take}},
	}
}

func (t *Texts) take(object any) (any, error) {
	if order, ok := object.(*v1alpha1.AcmeOrder); ok {
		if order.Status.Certificate != "" {
			t.byOrder.Add(order.UID, order.Status.Certificate)
		}
		ordercache.Compact(order)
	}
	return object, nil
}

// of is the certificate of an order that may come from the cache, with its chain; "" where there is none.
func (t *Texts) of(ctx context.Context, orders *store[*v1alpha1.AcmeOrder], order *v1alpha1.AcmeOrder) (string, error) {
	if order.Status.Certificate != "" {
		return order.Status.Certificate, nil
	}
	if text, ok := t.byOrder.Get(order.UID); ok {
		return text.(string), nil
	}
	full, err := orders.getLive(ctx, types.NamespacedName{Namespace: order.Namespace, Name: order.Name})
	if err != nil {
		return "", err
	}
	return full.Status.Certificate, nil
}
