package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// ordersAnAccount is the number of seeded orders that belong to one account.
const ordersAnAccount = 100

// seed stores copies of an issued order. The first of them are revoked, and belong to a CRL.
func (p *plane) seed(ctx context.Context, like *v1alpha1.AcmeOrder, count, revoked int, crl string) error {
	now := time.Now()
	authorityKey, _, _ := strings.Cut(like.Status.CertificateID, ".")
	first := new(big.Int).Lsh(big.NewInt(1), 120)
	if err := p.local.Plane().Seed(ctx, func(yield func(string, []byte) bool) {
		for i := range count {
			order := like.DeepCopy()
			order.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "AcmeOrder"}
			order.Name = fmt.Sprintf("seeded%014d", i)
			order.UID = types.UID(fmt.Sprintf("%08x-0000-4000-8000-%012x", i, now.UnixNano()&0xffffffffffff))
			order.ResourceVersion = ""
			order.Spec.AccountRef.Name = fmt.Sprintf("seeded%018d", i/ordersAnAccount)
			order.Spec.Identifiers[0].Value = fmt.Sprintf("s%d.bench.test", i)
			order.Spec.Authorizations[0] = order.Name
			serial := new(big.Int).Add(first, big.NewInt(int64(i)))
			order.Status.Serial = v1alpha1.SerialText(serial)
			order.Status.CertificateID = authorityKey + acme.NewCertID(nil, serial).String()
			if i < revoked {
				at := metav1.NewTime(now.Truncate(time.Second))
				order.Spec.Revocation, order.Status.RevokedAt, order.Status.CRL = &v1alpha1.Revocation{}, &at, crl
				order.Status.Revocation = &v1alpha1.HandledRequest{Digest: order.Spec.Revocation.Digest()}
			}
			value, err := json.Marshal(order)
			if err != nil || !yield("acmeca.dev/acmeorders/"+order.Namespace+"/"+order.Name, value) {
				return // our own type always marshals
			}
		}
	}); err != nil {
		return err
	}
	return p.caughtUp(ctx)
}

// caughtUp waits until the API server has seen the objects that were stored directly in etcd.
func (p *plane) caughtUp(ctx context.Context) error {
	var orders v1alpha1.AcmeOrderList
	if err := p.objects.List(ctx, &orders, client.Limit(1)); err != nil {
		return err
	}
	from := &client.ListOptions{Limit: 1, Raw: &metav1.ListOptions{
		ResourceVersion: orders.ResourceVersion, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
	}}
	for {
		err := p.objects.List(ctx, &orders, from)
		if !apierrors.IsTimeout(err) {
			return err
		}
	}
}

// issued returns an order with a certificate.
func (p *plane) issued(ctx context.Context) (*v1alpha1.AcmeOrder, error) {
	var orders v1alpha1.AcmeOrderList
	if err := p.objects.List(ctx, &orders, client.MatchingFields{"status.state": string(acme.StateValid)}, client.Limit(1)); err != nil {
		return nil, err
	}
	if len(orders.Items) == 0 {
		return nil, fmt.Errorf("there is no order with a certificate")
	}
	return &orders.Items[0], nil
}
