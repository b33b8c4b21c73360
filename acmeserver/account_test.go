package acmeserver

import (
	"net/http"
	"testing"

	"github.com/acmeca/acmeca/acmeserver/answer"
	"github.com/acmeca/acmeca/acmeserver/store/storetest"
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// The controllers can refuse a registration and remove it before the ACME server begins to wait for their verdict.
func TestARefusalIsToldThoughTheAccountIsGone(t *testing.T) {
	cluster := storetest.New(t)
	s := &Server{store: cluster.Store}
	account := &v1alpha1.AcmeAccount{}
	account.Namespace, account.Name, account.UID = "ns", "a", "uid"
	problemOfVerdict := func() *acme.Problem {
		_, err := s.awaitVerdict(t.Context(), account)
		if err == nil {
			t.Fatal("no problem")
		}
		return answer.ProblemOf(t.Context(), err)
	}
	if p := problemOfVerdict(); p.Status != http.StatusServiceUnavailable {
		t.Errorf("of an account that was removed for another reason: %v", p)
	}
	refused := account.DeepCopy()
	refused.Status.State = acme.StateInvalid
	refused.Status.Problem = v1alpha1.ProblemFrom(acme.NewProblem(acme.Unauthorized, "the binding isn't right"))
	cluster.Remove(refused)
	if p := problemOfVerdict(); p.Type != acme.Unauthorized || p.Detail != "the binding isn't right" {
		t.Errorf("of an account that was refused: %v", p)
	}
}
