package acmeserver

import (
	"context"
	"errors"
	"net/http"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// bare is a cache with nothing in it.
type bare struct{ client.Client }

func (bare) Get(_ context.Context, key client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
	return apierrors.NewNotFound(schema.GroupResource{Resource: "acmeaccounts"}, key.Name)
}

// The controllers can refuse a registration and remove it before the ACME server begins to wait for what they say.
func TestARefusalIsToldThoughTheAccountHasGone(t *testing.T) {
	s := &Server{accounts: &store[*v1alpha1.AcmeAccount]{
		cached: bare{}, kind: "account", empty: func() *v1alpha1.AcmeAccount { return &v1alpha1.AcmeAccount{} },
		newer: map[types.NamespacedName]*v1alpha1.AcmeAccount{}, waiters: map[types.NamespacedName]map[chan *v1alpha1.AcmeAccount]struct{}{},
	}}
	account := &v1alpha1.AcmeAccount{}
	account.Namespace, account.Name, account.UID = "ns", "a", "uid"
	problemOfVerdict := func() *acme.Problem {
		_, err := s.verdict(t.Context(), account)
		problem, ok := errors.AsType[*acme.Problem](err)
		if !ok {
			t.Fatalf("no problem: %v", err)
		}
		return problem
	}
	if p := problemOfVerdict(); p.Status != http.StatusServiceUnavailable {
		t.Errorf("of an account that has gone for another reason: %v", p)
	}
	refused := account.DeepCopy()
	refused.Status.State = acme.StateInvalid
	refused.Status.Problem = v1alpha1.ProblemFrom(acme.NewProblem(acme.Unauthorized, "the binding isn't right"))
	s.accounts.deleted(refused)
	if p := problemOfVerdict(); p.Type != acme.Unauthorized || p.Detail != "the binding isn't right" {
		t.Errorf("of an account that was refused: %v", p)
	}
}
