package store

import (
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/informer"
)

// walkRetry is the time after which a walk that failed is repeated.
const walkRetry = time.Minute

// IsReplaced reports whether a valid order of the issuer replaced a certificate (RFC 9773 section 5). After a start and a lost watch, until
// the stored orders are walked, a list of the API server decides. The errors are ErrBusy and ErrUnavailable.
func (s *Store) IsReplaced(ctx context.Context, issuer types.NamespacedName, certID string) (bool, error) {
	if s.Orders.upToDate(ctx) {
		if replaced, known := s.finished.replaced.Contains(issuer, certID); known {
			return replaced, nil
		}
	}
	done, err := s.startSearch(ctx, issuer.Namespace)
	if err != nil {
		return false, err
	}
	defer done()
	found, err := s.listLive(ctx, issuer.Namespace, fields.AndSelectors(
		fields.OneTermEqualSelector("spec.replaces", certID), fields.OneTermEqualSelector("status.state", string(acme.StateValid)),
	))
	return slices.ContainsFunc(found, func(o *v1alpha1.AcmeOrder) bool { return o.Spec.IssuerRef.Name == issuer.Name }), err
}

// walkReplacements walks the stored orders that replaced a certificate after each list of the informer.
func (s *Store) walkReplacements(ctx context.Context, namespaces []string) {
	known := s.finished.replaced
	var retry <-chan time.Time
	for {
		select {
		case <-known.Again():
		case <-retry:
		case <-ctx.Done():
			return
		}
		retry = nil
		known.BeginWalk()
		err := informer.WalkOrders(ctx, s.Orders.live, namespaces, fields.AndSelectors(
			fields.OneTermNotEqualSelector("spec.replaces", ""), fields.OneTermEqualSelector("status.state", string(acme.StateValid)),
		), func(page []informer.StoredOrder, _ int64) error {
			for _, order := range page {
				known.Note(order.AcmeOrder)
			}
			return nil
		})
		if err != nil && ctx.Err() == nil {
			logf.FromContext(ctx).Error(err, "can't read the orders that replaced certificates, retrying; renewals cost the API server more until then")
			retry = time.After(walkRetry)
		}
		if err == nil {
			known.EndWalk()
		}
	}
}
