package informer

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

const (
	// walkPageSize is the number of orders in a page of a walk.
	walkPageSize = 500
	// walkShare is the inverse of the part of the time in which a walk reads.
	walkShare = 3
)

// StoredOrder is an order in a page of a walk.
type StoredOrder struct {
	*v1alpha1.AcmeOrder
	// Bytes is the size of the order in the JSON of the API server, or 0 if that is not known.
	Bytes int
	// Damaged means that the order lacks members that can't be decoded.
	Damaged bool
}

// WalkOrders calls visit with each page of the orders that are stored in the given namespaces, or in all namespaces if none is given, and
// that the selector selects; a nil selector selects all. remaining is the number of orders of the namespace after the page, and 0 with a
// selector. reader must read past every cache. Orders sort by name.
//
// A walk reads a third of the time, so that it leaves the API server to others. A walk that lasts longer than the API server keeps an old
// state goes on with the state of then. So it meets each order that is stored all the time, and other orders perhaps.
func WalkOrders(
	ctx context.Context, reader client.Reader, namespaces []string, selector fields.Selector,
	visit func(page []StoredOrder, remaining int64) error,
) error {
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	for _, namespace := range namespaces {
		options := &client.ListOptions{Namespace: namespace, FieldSelector: selector, Limit: walkPageSize}
		if err := walkOrders(ctx, reader, options, visit); err != nil {
			return err
		}
	}
	return nil
}

func walkOrders(
	ctx context.Context, reader client.Reader, options *client.ListOptions, visit func(page []StoredOrder, remaining int64) error,
) error {
	for {
		begun := time.Now()
		page, list, err := readOrders(ctx, reader, options)
		if next := continueAfterExpiry(err); next != "" && next != options.Continue {
			options.Continue = next
			continue
		}
		if err != nil {
			return fmt.Errorf("list a page of the orders: %w", err)
		}
		var remaining int64
		if list.RemainingItemCount != nil {
			remaining = *list.RemainingItemCount
		}
		if err := visit(page, remaining); err != nil {
			return err
		}
		if options.Continue = list.Continue; options.Continue == "" {
			return nil
		}
		select {
		case <-time.After((walkShare - 1) * time.Since(begun)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// readOrders reads a page, which has damaged orders too.
func readOrders(ctx context.Context, reader client.Reader, options *client.ListOptions) ([]StoredOrder, *v1alpha1.AcmeOrderList, error) {
	var orders []StoredOrder
	list := &v1alpha1.AcmeOrderList{}
	p := &page{list: list, note: func(object client.Object, bytes int, damaged bool) {
		orders = append(orders, StoredOrder{Bytes: bytes, Damaged: damaged})
		if damaged { // the list leaves it out
			orders[len(orders)-1].AcmeOrder = object.(*v1alpha1.AcmeOrder)
		}
	}}
	_, _, err := readInto(ctx, p, func(ctx context.Context) (runtime.Object, error) { return list, reader.List(ctx, list, options) })
	if err != nil {
		return nil, nil, err
	}
	if !p.done { // client-go has decoded
		orders = make([]StoredOrder, len(list.Items))
	}
	next := 0
	for i := range orders {
		if !orders[i].Damaged {
			orders[i].AcmeOrder = &list.Items[next]
			next++
		}
	}
	return orders, list, nil
}

// continueAfterExpiry returns the token by which a list goes on with a newer state, after an error that says that the old state is gone.
func continueAfterExpiry(err error) string {
	status, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok || !apierrors.IsResourceExpired(err) {
		return ""
	}
	return status.ErrStatus.ListMeta.Continue
}
