package issuer

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/issuers"
)

// boundPeriod is how long a count of a namespace's issuers is used, so that many issuers cost one list in this time.
const boundPeriod = time.Second

// Bound limits the issuers of each namespace. The oldest are served. The others wait until an older one is deleted.
type Bound struct {
	// Reader lists the cached issuers.
	Reader client.Reader
	Clock  clock.PassiveClock
	// Max is the number of issuers that are served in a namespace; 0 for no limit.
	Max int

	mu      sync.Mutex
	counted map[string]*count // by namespace
}

// count is the result of a count of a namespace's issuers: whether each is served.
type count struct {
	at     time.Time
	served map[types.UID]bool
}

func (c *count) fresh(now time.Time) bool {
	age := now.Sub(c.at)
	return age >= 0 && age < boundPeriod
}

func (c *count) knows(object *v1alpha1.AcmeIssuer) bool {
	_, known := c.served[object.UID]
	return known
}

// fault returns why an issuer is not served; nil if it is served. wait is the time until that is known; zero if it is known.
func (b *Bound) fault(ctx context.Context, object *v1alpha1.AcmeIssuer) (f *issuers.Fault, wait time.Duration, err error) {
	if b == nil || b.Max <= 0 {
		return nil, 0, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.counted[object.Namespace]
	if c == nil || !c.fresh(b.Clock.Now()) || !c.knows(object) && len(c.served) < b.Max {
		if c, err = b.count(ctx, object.Namespace); err != nil {
			return nil, 0, err
		}
	}
	if !c.knows(object) {
		return nil, boundPeriod, nil
	}
	if c.served[object.UID] {
		return nil, 0, nil
	}
	return &issuers.Fault{Reason: v1alpha1.ReasonTooManyIssuers, Message: fmt.Sprintf(
		"the namespace has more than %d issuers, and only the oldest are served (--max-issuers-per-namespace of the controllers): delete an older one", b.Max)}, 0, nil
}

// count counts the issuers of a namespace. Issuers that are being deleted do not count.
func (b *Bound) count(ctx context.Context, namespace string) (*count, error) {
	var list v1alpha1.AcmeIssuerList
	if err := b.Reader.List(ctx, &list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	items := slices.DeleteFunc(list.Items, func(i v1alpha1.AcmeIssuer) bool { return i.DeletionTimestamp != nil })
	slices.SortFunc(items, func(x, y v1alpha1.AcmeIssuer) int {
		return cmp.Or(x.CreationTimestamp.Compare(y.CreationTimestamp.Time), cmp.Compare(x.Name, y.Name))
	})
	c := &count{at: b.Clock.Now(), served: make(map[types.UID]bool, len(items))}
	for i := range items {
		c.served[items[i].UID] = i < b.Max
	}
	if b.counted == nil {
		b.counted = map[string]*count{}
	}
	b.counted[namespace] = c
	return c, nil
}

// forget removes a namespace's count, so that its issuers are counted again.
func (b *Bound) forget(namespace string) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.counted, namespace)
}

// loadWithin loads an issuer, unless it is beyond the limit of its namespace and was never served. One that was served before
// stays loaded, so that its CRLs are renewed, but issues no more.
func (r *Reconciler) loadWithin(
	ctx context.Context, object *v1alpha1.AcmeIssuer, known *issuers.Issuer, beyond *issuers.Fault,
) (*issuers.Issuer, error) {
	if beyond != nil && known == nil && object.Status.IssuingCertificate == nil {
		return &issuers.Issuer{Name: object.Name, Spec: object.Spec, Fault: beyond}, nil
	}
	issuer, err := r.load(ctx, object, known)
	if err == nil && beyond != nil {
		issuer.Fault = beyond
	}
	return issuer, err
}
