package acmeca

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// ordersAnAccount is the number of seeded orders that belong to one account.
const ordersAnAccount = 100

// Seed stores copies of an issued order, with numbers from a first one. The first revoked copies are revoked, and belong to a CRL.
// The copies keep all fields, also those that only another build knows.
func (p *Plane) Seed(ctx context.Context, like *unstructured.Unstructured, from, count, revoked int, crl string) error {
	now := time.Now().UTC().Truncate(time.Second)
	revocation := v1alpha1.Revocation{}
	handled, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&v1alpha1.HandledRequest{Digest: revocation.Digest()})
	if err != nil {
		return err
	}
	seeded := func(i int) ([]byte, error) {
		order := seededOrder(like, i, now)
		if i < revoked {
			set(order, map[string]any{}, "spec", "revocation")
			set(order, now.Format(time.RFC3339), "status", "revokedAt")
			set(order, crl, "status", "crl")
			set(order, handled, "status", "revocation")
		}
		return order.MarshalJSON()
	}
	var bad error
	err = p.Local.Plane().Seed(ctx, func(yield func(string, []byte) bool) {
		for i := from; i < from+count; i++ {
			value, err := seeded(i)
			if bad = err; err != nil || !yield("acmeca.dev/acmeorders/"+like.GetNamespace()+"/"+seededName(i), value) {
				return
			}
		}
	})
	if err := errors.Join(bad, err); err != nil {
		return err
	}
	return p.caughtUp(ctx)
}

func seededName(i int) string { return fmt.Sprintf("seeded%014d", i) }

// replacedKey is the key of the CA whose certificates the copies replace, as those of clients with renewal information do (RFC 9773).
var replacedKey = []byte("the key of some CA...")

// seededOrder returns a copy of an order, with names and a serial number of its own.
func seededOrder(like *unstructured.Unstructured, i int, now time.Time) *unstructured.Unstructured {
	order := like.DeepCopy()
	order.SetName(seededName(i))
	order.SetUID(types.UID(fmt.Sprintf("%08x-0000-4000-8000-%012x", i, now.UnixNano()&0xffffffffffff)))
	order.SetResourceVersion("")
	order.SetManagedFields(nil)
	set(order, fmt.Sprintf("seeded%018d", i/ordersAnAccount), "spec", "accountRef", "name")
	set(order, []any{map[string]any{"type": string(acme.DNS), "value": fmt.Sprintf("s%d.bench.test", i)}}, "spec", "identifiers")
	if _, found, _ := unstructured.NestedSlice(order.Object, "spec", "authorizations"); found {
		set(order, []any{seededName(i)}, "spec", "authorizations")
	}
	set(order, acme.NewCertID(replacedKey, big.NewInt(int64(i))).String(), "spec", "replaces")
	serial := new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 120), big.NewInt(int64(i)))
	set(order, v1alpha1.SerialText(serial), "status", "serial")
	if id, found, _ := unstructured.NestedString(order.Object, "status", "certificateID"); found {
		authorityKey, _, _ := strings.Cut(id, ".")
		set(order, authorityKey+acme.NewCertID(nil, serial).String(), "status", "certificateID")
	}
	return order
}

// set sets a field of an order, whose parents are maps.
func set(order *unstructured.Unstructured, value any, path ...string) {
	if err := unstructured.SetNestedField(order.Object, value, path...); err != nil {
		panic(err) // the order came from the API server, by its schema
	}
}

// caughtUp waits until the API server has seen the objects that were stored directly in etcd.
func (p *Plane) caughtUp(ctx context.Context) error {
	var orders v1alpha1.AcmeOrderList
	if err := p.Objects.List(ctx, &orders, client.Limit(1)); err != nil {
		return err
	}
	from := &client.ListOptions{Limit: 1, Raw: &metav1.ListOptions{
		ResourceVersion: orders.ResourceVersion, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
	}}
	for {
		err := p.Objects.List(ctx, &orders, from)
		if !apierrors.IsTimeout(err) {
			return err
		}
	}
}

// Issued returns an order with a certificate, with all its fields.
func (p *Plane) Issued(ctx context.Context) (*unstructured.Unstructured, error) {
	orders := &unstructured.UnstructuredList{}
	orders.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("AcmeOrderList"))
	if err := p.Objects.List(ctx, orders, client.MatchingFields{"status.state": string(acme.StateValid)}, client.Limit(1)); err != nil {
		return nil, err
	}
	if len(orders.Items) == 0 {
		return nil, errors.New("there is no order with a certificate")
	}
	return &orders.Items[0], nil
}
