package informer

import (
	"context"
	"errors"
	"sync"

	"github.com/go-json-experiment/json"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/ordercache"
)

// maxReads bounds the concurrent reads of orders after a list.
const maxReads = 8

// readSelected lists the orders that the cache holds, and reads by name the members that are not listed any more: a reflector would
// otherwise report them as deleted.
//
// These reads are newer than the first list, whose version the list has. The watch from that version repeats events about these orders,
// which the decoder drops (members.later).
func (p *paged) readSelected(ctx context.Context, o metav1.ListOptions) (*listing, error) {
	before := p.members.all()
	all := map[types.NamespacedName]runtime.Object{}
	l := &listing{sizes: p.newSizes()}
	skipped := map[types.NamespacedName]error{}
	for _, selector := range ordercache.Selectors() {
		o.FieldSelector = selector
		selected := &listing{sizes: l.sizes}
		if err := p.readPages(ctx, o, selected); err != nil {
			return nil, err
		}
		if l.version == "" {
			l.version = selected.version
		}
		for _, item := range selected.items {
			name := client.ObjectKeyFromObject(item.(client.Object))
			all[name] = item
			delete(skipped, name)
		}
		for _, object := range selected.skipped {
			skipped[object.name] = object.reason
			delete(all, object.name)
		}
	}
	var missing []types.NamespacedName
	for _, name := range before {
		if _, isSkipped := skipped[name]; all[name] == nil && !isSkipped {
			missing = append(missing, name)
		}
	}
	for name, reason := range skipped {
		l.skipped = append(l.skipped, skippedObject{name, reason})
	}
	for _, item := range all {
		l.items = append(l.items, item)
	}
	return l, p.readByName(ctx, missing, l)
}

// readByName adds the orders with these names to a list, unless they do not exist.
func (p *paged) readByName(ctx context.Context, names []types.NamespacedName, l *listing) error {
	var mu sync.Mutex
	var reads sync.WaitGroup
	var errs []error
	slots := make(chan struct{}, maxReads)
	for _, name := range names {
		slots <- struct{}{}
		reads.Go(func() {
			defer func() { <-slots }()
			order, reason, err := p.from.readOrder(ctx, name)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case apierrors.IsNotFound(err):
			case err != nil:
				errs = append(errs, err)
			case reason != nil:
				l.skipped = append(l.skipped, skippedObject{name, reason})
			default:
				l.items = append(l.items, alone(order))
			}
		})
	}
	reads.Wait()
	return errors.Join(errs...)
}

// readOrder returns an order from the API server. reason is not nil if the order can't be decoded.
func (i *Informers) readOrder(ctx context.Context, name types.NamespacedName) (order *v1alpha1.AcmeOrder, reason, err error) {
	i.mu.Lock()
	live := i.live
	i.mu.Unlock()
	if live == nil {
		return nil, nil, errors.New("no client to read orders with")
	}
	stored := &unstructured.Unstructured{}
	stored.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("AcmeOrder"))
	if err := live.Get(ctx, name, stored); err != nil {
		return nil, nil, err
	}
	text, err := stored.MarshalJSON()
	if err != nil {
		return nil, nil, err
	}
	order = &v1alpha1.AcmeOrder{}
	return order, json.Unmarshal(text, order), nil
}
