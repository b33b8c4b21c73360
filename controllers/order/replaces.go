package order

import (
	"context"
	"maps"
	"slices"
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/kube"
	"github.com/acmeca/acmeca/internal/ordercache"
)

// Replacements finds the orders that replace a certificate (RFC 9773 section 5), and lets a single one of them be issued, whatever
// the ACME server stored.
type Replacements struct {
	// Client reads from the cache, and Serials finds orders in it.
	Client  client.Reader
	Serials *ordercache.SerialIndex

	mu sync.Mutex
	// reserved are the certificates whose replacement is being issued, and the orders that replace them, until the cache shows
	// how these orders ended.
	reserved map[client.ObjectKey]client.ObjectKey
}

// read returns the order of the certificate that an order replaces, or nil if it is not known. taken reports whether another order
// that replaces the same certificate is valid.
func (r *Replacements) read(ctx context.Context, order *v1alpha1.AcmeOrder) (replaced *v1alpha1.AcmeOrder, taken bool, err error) {
	id, problem := acme.ParseCertID(order.Spec.Replaces)
	if order.Spec.Replaces == "" || problem != nil {
		return nil, false, nil //nolint:nilerr // decide refuses it
	}
	if replaced, err = r.certified(ctx, order, id); err != nil {
		return nil, false, err
	}
	taken, err = r.taken(ctx, order)
	return replaced, taken, err
}

// reserve keeps other orders from replacing the same certificate, until Forget is called for this order. taken reports whether
// another order has reserved the certificate or replaced it: an order that reserves first, and then finds no valid order, is the
// only one.
func (r *Replacements) reserve(ctx context.Context, order *v1alpha1.AcmeOrder) (taken bool, err error) {
	if order.Spec.Replaces == "" {
		return false, nil
	}
	certificate, holder := replacedCertificate(order), client.ObjectKeyFromObject(order)
	r.mu.Lock()
	other, held := r.reserved[certificate]
	if !held {
		if r.reserved == nil {
			r.reserved = map[client.ObjectKey]client.ObjectKey{}
		}
		r.reserved[certificate] = holder
	}
	r.mu.Unlock()
	if held && other != holder {
		return true, nil
	}
	return r.taken(ctx, order)
}

// replacedCertificate is the key of the certificate that an order replaces.
func replacedCertificate(order *v1alpha1.AcmeOrder) client.ObjectKey {
	return client.ObjectKey{Namespace: order.Namespace, Name: order.Spec.IssuerRef.Name + "/" + order.Spec.Replaces}
}

// Forget removes the reservation of an order.
func (r *Replacements) Forget(order client.ObjectKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.reserved, func(_, holder client.ObjectKey) bool { return holder == order })
}

// certified returns the order of the same issuer that a certificate was issued for; nil if there is none.
func (r *Replacements) certified(ctx context.Context, order *v1alpha1.AcmeOrder, id acme.CertID) (*v1alpha1.AcmeOrder, error) {
	name, found := r.Serials.Find(order.Namespace, v1alpha1.SerialText(id.Serial()))
	if !found {
		return nil, nil
	}
	replaced := &v1alpha1.AcmeOrder{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: order.Namespace, Name: name}, replaced)
	if err != nil || replaced.Spec.IssuerRef != order.Spec.IssuerRef || replaced.Status.CertificateID != id.String() {
		return nil, client.IgnoreNotFound(err)
	}
	return replaced, nil
}

// taken reports whether another order that replaces the same certificate is valid.
func (r *Replacements) taken(ctx context.Context, order *v1alpha1.AcmeOrder) (bool, error) {
	var orders v1alpha1.AcmeOrderList
	err := r.Client.List(ctx, &orders, client.InNamespace(order.Namespace),
		client.MatchingFields{kube.IndexReplaces: replacedCertificate(order).Name},
		client.UnsafeDisableDeepCopy)
	return slices.ContainsFunc(orders.Items, func(o v1alpha1.AcmeOrder) bool {
		return o.UID != order.UID && o.Status.State == acme.StateValid
	}), err
}
