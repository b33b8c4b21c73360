package store

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

const (
	// maxSearches bounds the concurrent lists of orders past the cache, and maxNamespaceSearches those of a namespace. The API server
	// compares all orders for each.
	maxSearches, maxNamespaceSearches = 3, 2
	// maxPages bounds the concurrent lists at places that clients name. A place with a version of the future keeps a list waiting for
	// seconds, and these must not be the seconds of other requests.
	maxPages = 1
	// pageTimeout is how long such a list may take. The client of the API server repeats a list at a version of the future for 45 seconds.
	pageTimeout = 10 * time.Second
	// searchPage is the number of orders that are read at once.
	searchPage = 500
)

// OrdersOf returns the names of at most count orders of an account, without the invalid ones, the oldest first. next is where the list
// goes on, or "" at its end; after is "" or an earlier next. The error is ErrExpired if the list can't go on there.
func (s *Store) OrdersOf(
	ctx context.Context, account *v1alpha1.AcmeAccount, after string, count int,
) (names []string, next string, err error) {
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	done, err := waitForSlot(ctx, s.pages, orders.String())
	if err != nil {
		return nil, "", err
	}
	defer done()
	found, err := s.searchOrders(ctx, account, false, after, int64(count))
	if after != "" && err != nil && (isNoPlace(err) || errors.Is(ctx.Err(), context.DeadlineExceeded)) {
		return nil, "", &Error{Kind: orders.String(), Reason: ErrExpired, Cause: err}
	}
	if err != nil {
		return nil, "", err
	}
	for i := range found.Items {
		names = append(names, found.Items[i].Name)
	}
	return names, found.Continue, nil
}

// isNoPlace reports whether the API server can't go on with a list at a place: the version is too old or of the future, or the place is
// malformed.
func isNoPlace(err error) bool {
	return apierrors.IsResourceExpired(err) || apierrors.IsBadRequest(err) ||
		apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge)
}

// searchOrders lists the metadata of an account's orders that are invalid, or of those that are not. The caller has a slot.
func (s *Store) searchOrders(
	ctx context.Context, account *v1alpha1.AcmeAccount, invalid bool, after string, limit int64,
) (*metav1.PartialObjectMetadataList, error) {
	state := fields.OneTermNotEqualSelector("status.state", string(acme.StateInvalid))
	if invalid {
		state = fields.OneTermEqualSelector("status.state", string(acme.StateInvalid))
	}
	found := &metav1.PartialObjectMetadataList{}
	found.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("AcmeOrderList"))
	o := &client.ListOptions{
		Namespace: account.Namespace, Limit: limit, Continue: after,
		FieldSelector: fields.AndSelectors(fields.OneTermEqualSelector("spec.accountRef.name", account.Name), state),
	}
	return found, Failure(orders.String(), s.Orders.live.List(ctx, found, o))
}
