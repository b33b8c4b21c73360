package store

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

func orderOf(name string, authorizations ...string) *v1alpha1.AcmeOrder {
	order := &v1alpha1.AcmeOrder{}
	order.Namespace, order.Name, order.Spec.AccountRef.Name, order.Spec.Authorizations = "ns", name, "me", authorizations
	order.Status.State = acme.StatePending
	return order
}

func authorizationOf(name string, state acme.State) *v1alpha1.AcmeAuthorization {
	authz := &v1alpha1.AcmeAuthorization{}
	authz.Namespace, authz.Name, authz.Spec.AccountRef.Name, authz.Status.State = "ns", name, "me", state
	return authz
}

func TestCountPending(t *testing.T) {
	s := &Store{counts: newOrderCounts(), preAuthorizations: newPreAuthorizations(), pending: newPendingIndex()}
	s.Orders, _, _ = newTestObjects()
	account := &v1alpha1.AcmeAccount{}
	account.Namespace, account.Name = "ns", "me"
	expect := func(what string, orders, authorizations int, except ...string) {
		t.Helper()
		if got := s.pending.count(types.NamespacedName{Namespace: account.Namespace, Name: account.Name}, except); got.Orders != orders || got.Authorizations != authorizations {
			t.Errorf("%s: %+v", what, got)
		}
	}
	one, two := orderOf("one", "one-0", "one-1"), orderOf("two", "two-0", "reused")
	s.noteOrder(one)
	s.noteOrder(two)
	s.noteAuthorization(authorizationOf("one-0", acme.StatePending)) // counts with its order
	s.noteAuthorization(authorizationOf("ended-0", acme.StatePending))
	s.noteAuthorization(authorizationOf("ahead", acme.StatePending))
	s.noteAuthorization(authorizationOf("proved", acme.StateValid))
	expect("all", 2, 2+1+1+1)
	expect("without an order that is invalid for its client", 1, 1+1+1+1, "one")
	other := orderOf("three", "three-0")
	other.Spec.AccountRef.Name = "you"
	s.noteOrder(other)
	expect("with an order of another account", 2, 5)
	one.Status.State = acme.StateValid
	s.noteOrder(one)
	s.noteAuthorization(authorizationOf("one-0", acme.StateValid))
	s.dropAuthorization(authorizationOf("ahead", acme.StatePending))
	expect("after an order is finished", 1, 1+1)
	s.dropOrder(two)
	s.dropOrder(other)
	s.noteAuthorization(authorizationOf("ended-0", acme.StateInvalid))
	if len(s.pending.byAccount) != 0 || s.PendingBytes() != 0 {
		t.Errorf("accounts without pending objects are kept, with %d bytes", s.PendingBytes())
	}
}

// A state that the cache has left behind does not come back with the answer of a write.
func TestALateAnswerChangesNoCount(t *testing.T) {
	orders, cached, _ := newTestObjects()
	noted := 0
	orders.noted = func(*v1alpha1.AcmeOrder) { noted++ }
	late := orderOf("one")
	late.ResourceVersion, late.UID = "1", "one"
	current := late.DeepCopy()
	current.ResourceVersion = "2"
	cached.put(current)
	orders.written(late)
	if noted != 0 || len(orders.newer) != 0 {
		t.Errorf("noted %d times", noted)
	}
	current.ResourceVersion = "3"
	orders.written(current)
	if noted != 1 {
		t.Errorf("noted %d times, want once", noted)
	}
}

// The bytes follow an order: without and with its finalization, seen twice, and finished.
func TestPendingBytes(t *testing.T) {
	s := &Store{counts: newOrderCounts(), preAuthorizations: newPreAuthorizations(), pending: newPendingIndex()}
	order, account := orderOf("one", "one-0"), types.NamespacedName{Namespace: "ns", Name: "me"}
	for _, step := range []struct {
		change func()
		want   int64
	}{
		{func() {}, orderBytes},
		{func() {
			order.Spec.Finalization = &v1alpha1.Finalization{Request: v1alpha1.SignedRequest{Payload: strings.Repeat("A", 1000)}}
		}, orderBytes + 1000},
		{func() {
			order.Spec.Finalization = &v1alpha1.Finalization{Request: v1alpha1.SignedRequest{Payload: strings.Repeat("A", 500)}}
		}, orderBytes + 500},
		{func() {}, orderBytes + 500},
		{func() { order.Status.State = acme.StateValid }, 0},
	} {
		step.change()
		s.noteOrder(order)
		if s.PendingBytes() != step.want || s.pending.count(account, nil).Bytes != step.want {
			t.Errorf("%d bytes, want %d", s.PendingBytes(), step.want)
		}
	}
	authz := authorizationOf("a", acme.StatePending)
	authz.Spec.Response = &v1alpha1.ChallengeResponse{Request: v1alpha1.SignedRequest{Payload: strings.Repeat("A", 500)}}
	s.noteAuthorization(authz)
	s.noteAuthorization(authz)
	if s.PendingBytes() != authorizationBytes+500 {
		t.Errorf("%d bytes of an authorization", s.PendingBytes())
	}
}
