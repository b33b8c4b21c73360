package crl

import (
	"context"
	"errors"
	"math/big"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/kube"
)

// list returns the revoked orders that a CRL has to list. They are read-only.
func (p *Publisher) list(ctx context.Context, request issuers.CRLRequest) ([]v1alpha1.AcmeOrder, error) {
	var orders v1alpha1.AcmeOrderList
	err := p.Client.List(ctx, &orders, client.InNamespace(request.Namespace),
		client.MatchingFields{kube.IndexRevoked: request.Issuer + "/" + request.Name}, client.UnsafeDisableDeepCopy)
	return orders.Items, err
}

// entriesOf returns the entries of revoked orders.
func entriesOf(orders []v1alpha1.AcmeOrder) []ca.Entry {
	entries := make([]ca.Entry, 0, len(orders))
	for i := range orders {
		order := &orders[i]
		serial, ok := new(big.Int).SetString(order.Status.Serial, 16)
		if !ok || order.Spec.Revocation == nil || order.Status.NotAfter == nil {
			continue
		}
		entries = append(entries, ca.Entry{
			Serial: serial, RevokedAt: order.Status.RevokedAt.Time, Reason: ca.Reason(order.Spec.Revocation.Reason),
			NotAfter: order.Status.NotAfter.Time,
		})
	}
	return entries
}

// releaseBatch bounds the finalizers that are removed after one CRL, so that the next CRL is not late.
const releaseBatch = 200

// release removes the finalizer of orders whose revocation is in each CRL that has to list it. It returns the number of orders that
// are kept, and a warning if the list of compromised keys is full. Each removal triggers another reconcile, which continues after
// releaseBatch.
func (p *Publisher) release(
	ctx context.Context, request issuers.CRLRequest, orders []v1alpha1.AcmeOrder, published *ca.CRL,
) (left int, warning string, err error) {
	var going []*v1alpha1.AcmeOrder
	for i := range orders {
		order := &orders[i]
		if !slices.Contains(order.Finalizers, v1alpha1.RevocationFinalizer) {
			continue
		}
		serial, ok := new(big.Int).SetString(order.Status.Serial, 16)
		expired := order.Status.NotAfter != nil && order.Status.NotAfter.Time.Before(published.ThisUpdate)
		if !expired && (!ok || !lists(published.Entries, serial) || !p.listsElsewhere(request, order, serial)) {
			left++
			continue
		}
		going = append(going, order)
	}
	going = going[:min(len(going), releaseBatch)]
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
	last := p.published[other]
	p.mu.Unlock()
	return last != nil && last.head != nil && lists(last.crl.Entries, serial)
}
