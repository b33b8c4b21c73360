package store

import (
	"context"
	"errors"
	"math/big"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

const (
	// maxLookups bounds the concurrent reads of orders by the serial numbers of their certificates. Anyone can cause such reads.
	maxLookups = 16
	// lookupTimeout is how long such a read may take.
	lookupTimeout = 10 * time.Second
	// oldSerialRate and oldSerialBurst bound the lists by serial numbers of earlier versions, in a second and at once. The API server
	// compares all orders for each.
	oldSerialRate, oldSerialBurst = 1, 10
)

// certificateKind is the kind in errors about certificates.
const certificateKind = "certificate"

// Certificate is an order's certificate.
type Certificate struct {
	// PEM is status.certificate of the order, and Chain its status.chain.
	PEM, Chain string
}

func certificateOf(order *v1alpha1.AcmeOrder) Certificate {
	return Certificate{order.Status.Certificate, order.Status.Chain}
}

// Certificate returns an order's certificate, with an empty PEM if the order has none. The order may come from the cache.
func (s *Store) Certificate(ctx context.Context, order *v1alpha1.AcmeOrder) (Certificate, error) {
	if order.Status.Certificate != "" {
		return certificateOf(order), nil
	}
	full, err := s.Orders.GetLive(ctx, client.ObjectKeyFromObject(order))
	if err != nil {
		return Certificate{}, err
	}
	return certificateOf(full), nil
}

// OrderWithSerial returns the issuer's order whose certificate has a serial number, which the caller must not change. The order is read
// from the API server if the cache does not hold it. The errors are ErrNotFound, ErrBusy and ErrUnavailable.
func (s *Store) OrderWithSerial(ctx context.Context, issuer types.NamespacedName, number *big.Int) (*v1alpha1.AcmeOrder, error) {
	matches := func(order *v1alpha1.AcmeOrder) bool {
		return order.Spec.IssuerRef.Name == issuer.Name && order.Status.Serial == v1alpha1.SerialText(number)
	}
	name, ok := acme.OrderOfSerial(number)
	if !ok {
		return s.orderWithOldSerial(ctx, issuer.Namespace, number, matches)
	}
	key := types.NamespacedName{Namespace: issuer.Namespace, Name: name}
	s.Orders.upToDate(ctx) // best effort: an order without the serial number is read again
	order, err := s.Orders.GetCached(ctx, key)
	if err == nil && matches(order) {
		return order, nil
	}
	return s.lookUp(ctx, s.lookups, key.String(), matches, func(ctx context.Context) ([]*v1alpha1.AcmeOrder, error) {
		order := &v1alpha1.AcmeOrder{}
		if err := s.Orders.live.Get(ctx, key, order); err != nil {
			return nil, Failure(certificateKind, err)
		}
		s.Orders.written(order)
		return []*v1alpha1.AcmeOrder{order}, nil
	})
}

// orderWithOldSerial returns the order that matches, of those whose certificate has a serial number of an earlier version. Few lists
// are made.
func (s *Store) orderWithOldSerial(
	ctx context.Context, namespace string, number *big.Int, matches func(*v1alpha1.AcmeOrder) bool,
) (*v1alpha1.AcmeOrder, error) {
	serial := v1alpha1.SerialText(number)
	return s.lookUp(ctx, s.oldLookups, namespace+"/"+serial, matches, func(ctx context.Context) ([]*v1alpha1.AcmeOrder, error) {
		if !s.oldSerials.Allow() {
			return nil, &Error{Kind: certificateKind, Reason: ErrBusy}
		}
		return s.listLive(ctx, namespace, fields.OneTermEqualSelector("status.serial", serial))
	})
}

// errGone means that the request that made a read has ended, so another one of those that share the read has to make it.
var errGone = errors.New("the request has ended")

// lookUp returns the order that matches, of those that read returns. Requests with the same key share one read, which ends with the
// request that makes it.
func (s *Store) lookUp(
	ctx context.Context, slots chan struct{}, key string,
	matches func(*v1alpha1.AcmeOrder) bool, read func(context.Context) ([]*v1alpha1.AcmeOrder, error),
) (*v1alpha1.AcmeOrder, error) {
	for ctx.Err() == nil {
		answer := s.inFlight.DoChan(key, func() (any, error) {
			found, err := readInSlot(ctx, slots, read)
			if err != nil && ctx.Err() != nil {
				return nil, errGone
			}
			return found, err
		})
		select {
		case result := <-answer:
			if errors.Is(result.Err, errGone) {
				continue
			}
			if result.Err != nil {
				return nil, result.Err
			}
			found := result.Val.([]*v1alpha1.AcmeOrder)
			if i := slices.IndexFunc(found, matches); i >= 0 {
				return found[i], nil
			}
			return nil, NotFound(certificateKind)
		case <-ctx.Done():
		}
	}
	return nil, &Error{certificateKind, ErrUnavailable, ctx.Err()}
}

func readInSlot(
	ctx context.Context, slots chan struct{}, read func(context.Context) ([]*v1alpha1.AcmeOrder, error),
) ([]*v1alpha1.AcmeOrder, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	done, err := waitForSlot(ctx, slots, orders.String())
	if err != nil {
		return nil, err
	}
	defer done()
	return read(ctx)
}
