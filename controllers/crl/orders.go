package crl

import (
	"context"
	"errors"
	"math/big"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/kube"
)

// each calls visit with the orders that are in a group of orders for a CRL: kube.IndexRevoked or kube.IndexOwed. It holds few of them at
// a time. They are read-only.
func (p *Publisher) each(ctx context.Context, index string, request issuers.CRLRequest, visit func(*v1alpha1.AcmeOrder) error) error {
	for _, key := range kube.CRLKeys(request.Issuer, request.Name) {
		var orders v1alpha1.AcmeOrderList
		err := p.Client.List(ctx, &orders, client.InNamespace(request.Namespace), client.MatchingFields{index: key}, client.UnsafeDisableDeepCopy)
		if err != nil {
			return err
		}
		for i := range orders.Items {
			if err := visit(&orders.Items[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// unlisted returns the entries of revoked orders that the last CRL lacks. An order that is owed a revocation has a finalizer, so only
// such orders are read, unless the last CRL was read from its ConfigMap: it may be an older one.
func (p *Publisher) unlisted(ctx context.Context, request issuers.CRLRequest, last *publishedCRL) (ca.Entries, error) {
	index := kube.IndexRevoked
	if last.covers {
		index = kube.IndexOwed
	}
	var found []ca.Entry
	err := p.each(ctx, index, request, func(order *v1alpha1.AcmeOrder) error {
		if entry, ok := entryOf(order); ok && !last.lists(entry) {
			found = append(found, entry)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ca.NewEntries(found...)
}

// entryOf returns the entry of a revoked order. ok is false if the order lacks a field.
func entryOf(order *v1alpha1.AcmeOrder) (entry ca.Entry, ok bool) {
	serial, ok := new(big.Int).SetString(order.Status.Serial, 16)
	if !ok || order.Spec.Revocation == nil || order.Status.NotAfter == nil {
		return ca.Entry{}, false
	}
	return ca.Entry{Serial: serial, RevokedAt: order.Status.RevokedAt.Time, Reason: ca.Reason(order.Spec.Revocation.Reason),
		NotAfter: order.Status.NotAfter.Time}, true
}

// releaseBatch bounds the finalizers that are removed after one CRL, so that the next CRL is not late.
const releaseBatch = 200

// release removes the finalizer of orders whose revocation is in each CRL that has to list it. It returns the number of orders that
// are kept, and a warning if the list of compromised keys is full. Each removal triggers another reconcile, which continues after
// releaseBatch.
func (p *Publisher) release(
	ctx context.Context, request issuers.CRLRequest, published *ca.CRL,
) (left int, warning string, err error) {
	var going []*v1alpha1.AcmeOrder
	err = p.each(ctx, kube.IndexOwed, request, func(order *v1alpha1.AcmeOrder) error {
		serial, ok := new(big.Int).SetString(order.Status.Serial, 16)
		expired := order.Status.NotAfter != nil && order.Status.NotAfter.Time.Before(published.ThisUpdate)
		switch {
		case !expired && (!ok || published.Entries.Find(serial) == nil || !p.listsElsewhere(request, order, serial)):
			left++
		case len(going) < releaseBatch:
			going = append(going, new(*order)) // a copy, so that the list of its group is not kept
		}
		return nil
	})
	if err != nil {
		return left, "", err
	}
	stored, err := p.CompromisedKeys.Keep(ctx, client.ObjectKey{Namespace: request.Namespace, Name: request.Issuer}, going)
	if err != nil {
		return left, "", err
	}
	if kept := len(going) - len(stored); kept > 0 {
		left += kept
		warning = "the list of compromised keys is full: orders with further compromised keys are kept, also if they are deleted"
	}
	var errs []error
	for _, order := range stored {
		// After a conflict, the event of the newer version triggers another reconcile.
		if err := kube.RemoveFinalizer(ctx, p.Client, order); !apierrors.IsConflict(err) {
			errs = append(errs, err)
		}
	}
	return left, warning, errors.Join(errs...)
}

// listsElsewhere reports whether the other CRL that has to list an order's certificate lists it: the complete CRL beside the shard, or
// the shard beside the complete CRL. Of two CRLs that are published at the same time, the later one releases the order.
func (p *Publisher) listsElsewhere(request issuers.CRLRequest, order *v1alpha1.AcmeOrder, serial *big.Int) bool {
	other := request.Complete()
	if request.IsComplete() {
		other.Name = order.Status.CRL
	}
	if other == request {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	state := p.crls[other]
	return state != nil && state.last != nil && state.last.head != nil && state.last.entries().Find(serial) != nil
}
