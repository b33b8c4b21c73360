package store

import (
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// Pages visit each order once, newest first, in whatever order they are stored, and go on after an order that was removed.
func TestPagesOfOrders(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &Store{lists: newOrderLists()}
		s.Orders, _, _ = newTestObjects()
		account := &v1alpha1.AcmeAccount{}
		account.Namespace, account.Name, account.Spec.IssuerRef.Name = "ns", "me", "ca"
		var want []OrderPlace
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,3}`), 0, 40, rapid.ID[string]).Draw(t, "names")
		orders := map[string]*v1alpha1.AcmeOrder{}
		for _, name := range names {
			order := &v1alpha1.AcmeOrder{}
			order.Namespace, order.Name = "ns", name
			order.CreationTimestamp = metav1.NewTime(time.Unix(rapid.Int64Range(1, 5).Draw(t, "created"), 0))
			order.Spec.IssuerRef.Name = rapid.SampledFrom([]string{"ca", "ca", "ca", "other"}).Draw(t, "issuer")
			order.Spec.AccountRef.Name = rapid.SampledFrom([]string{"me", "me", "me", "you"}).Draw(t, "account")
			orders[name] = order
			s.lists.put(order)
			invalid := order.DeepCopy()
			if invalid.Status.State = rapid.SampledFrom([]acme.State{acme.StateValid, acme.StateInvalid}).Draw(t, "state"); invalid.Status.State == acme.StateInvalid {
				s.lists.put(invalid)
				s.lists.put(order) // late news
			} else if order.Spec.IssuerRef.Name == "ca" && order.Spec.AccountRef.Name == "me" {
				want = append(want, PlaceOf(order))
			}
		}
		slices.SortFunc(want, OrderPlace.Compare)
		size := rapid.IntRange(1, 7).Draw(t, "size")
		var seen []OrderPlace
		for after := (OrderPlace{}); ; {
			page := s.OrdersAfter(t.Context(), account, after, size)
			seen = append(seen, page...)
			if len(page) < size {
				break
			}
			after = page[len(page)-1]
			s.lists.remove(orders[after.Name])
		}
		if !slices.Equal(seen, want) {
			t.Fatalf("saw %v, want %v", seen, want)
		}
		for _, order := range orders {
			s.lists.remove(order)
		}
		if len(s.lists.byAccount) != 0 {
			t.Fatal("accounts without orders are kept")
		}
	})
}
