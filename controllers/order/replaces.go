package order

import (
	"context"
	"maps"
	"math/big"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/kube"
	"github.com/acmeca/acmeca/internal/ordercache"
	"github.com/acmeca/acmeca/internal/replaced"
)

// Replacements finds the orders that replace a certificate (RFC 9773 section 5), and lets a single one of them be issued, whatever
// the ACME server stored. The cache holds neither the order of the certificate nor the order that replaced it, if they are finished.
type Replacements struct {
	// Live reads past the cache.
	Live client.Reader
	// Known are certificates that were replaced; nil for none.
	Known *replaced.Certificates
	// Leads reports that no other process can have become the leader: Known may lack the certificates that a successor replaced. nil means
	// always.
	Leads func() bool

	mu sync.Mutex
	// reserved are the certificates whose replacement is being issued, and the orders that replace them, until the cache shows
	// how these orders ended.
	reserved map[client.ObjectKey]client.ObjectKey
	// found are the orders of the certificates that unfinished orders replace, by unfinished order; nil for an unknown certificate.
	found map[client.ObjectKey]*v1alpha1.AcmeOrder
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

// Forget removes the reservation of a finished order, and what was read for it.
func (r *Replacements) Forget(order client.ObjectKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.found, order)
	maps.DeleteFunc(r.reserved, func(_, holder client.ObjectKey) bool { return holder == order })
}

// certified returns the order of the same issuer that a certificate was issued for; nil if there is none. It remembers the answer: all
// that matters of an order with a certificate is immutable.
func (r *Replacements) certified(ctx context.Context, order *v1alpha1.AcmeOrder, id acme.CertID) (*v1alpha1.AcmeOrder, error) {
	key := client.ObjectKeyFromObject(order)
	r.mu.Lock()
	replaced, known := r.found[key]
	r.mu.Unlock()
	if known {
		return replaced, nil
	}
	orders, err := r.withSerial(ctx, order.Namespace, id.Serial())
	if err != nil {
		return nil, err
	}
	for i := range orders {
		if o := &orders[i]; o.Spec.IssuerRef == order.Spec.IssuerRef && o.CertificateID() == id.String() {
			replaced = o.DeepCopy()
			ordercache.Compact(replaced)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.found == nil {
		r.found = map[client.ObjectKey]*v1alpha1.AcmeOrder{}
	}
	r.found[key] = replaced
	return replaced, nil
}

// withSerial returns the orders that may have the certificate with a serial number: the one that the number leads to, or for a number of
// an earlier version those that a list finds.
func (r *Replacements) withSerial(ctx context.Context, namespace string, serial *big.Int) ([]v1alpha1.AcmeOrder, error) {
	name, ok := acme.OrderOfSerial(serial)
	if !ok {
		var orders v1alpha1.AcmeOrderList
		err := r.Live.List(ctx, &orders, client.InNamespace(namespace), client.MatchingFields{"status.serial": v1alpha1.SerialText(serial)})
		return orders.Items, err
	}
	order, err := kube.Read[v1alpha1.AcmeOrder](ctx, r.Live, namespace, name)
	if order == nil {
		return nil, err
	}
	return []v1alpha1.AcmeOrder{*order}, nil
}

// taken reports whether another order that replaces the same certificate is valid. It returns false for an order that is finished at the
// API server: a write of the order conflicts.
func (r *Replacements) taken(ctx context.Context, order *v1alpha1.AcmeOrder) (bool, error) {
	issuer := types.NamespacedName{Namespace: order.Namespace, Name: order.Spec.IssuerRef.Name}
	replaced, known := r.Known.Contains(issuer, order.Spec.Replaces)
	if known && !replaced && (r.Leads == nil || r.Leads()) {
		return false, nil
	}
	if known && replaced {
		now, err := kube.Read[v1alpha1.AcmeOrder](ctx, r.Live, order.Namespace, order.Name)
		if err != nil {
			return false, err
		}
		if now != nil && now.Finished() { // perhaps the certificate is known by this order, which the cache does not show as valid yet
			return false, nil
		}
	}
	var orders v1alpha1.AcmeOrderList
	err := r.Live.List(ctx, &orders, client.InNamespace(order.Namespace), client.MatchingFields{
		"spec.replaces": order.Spec.Replaces, "status.state": string(acme.StateValid), // an account can have any number of invalid ones
	})
	return slices.ContainsFunc(orders.Items, func(o v1alpha1.AcmeOrder) bool {
		return o.UID != order.UID && o.Spec.IssuerRef == order.Spec.IssuerRef && o.Status.State == acme.StateValid
	}), err
}
