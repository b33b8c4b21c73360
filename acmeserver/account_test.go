package acmeserver

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/acmeserver/answer"
	"github.com/acmeca/acmeca/acmeserver/store/storetest"
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
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

// The controllers delete an account that they refuse, such as one with a wrong external account binding.
func TestRefusedRegistrationsCountForTheLimit(t *testing.T) {
	s := newServed(t)
	now := time.Now()
	s.now = func() time.Time { return now }
	issuer := s.setOrderLimit(t, nil)
	issuer.Spec.RateLimits.NewAccounts = &v1alpha1.RateLimit{Count: 2, Period: metav1.Duration{Duration: time.Hour}}
	register := func(address string) error {
		key := jwstest.Key(t, jwstest.NewKey(t, "ES256"))
		header := httptest.NewRequestWithContext(t.Context(), http.MethodPost, issuerURL+acme.NewAccountPath, nil)
		header.RemoteAddr = address + ":1"
		message, problem := jws.Parse(s.signWithKey(t, issuerURL+acme.NewAccountPath, map[string]any{}))
		if problem != nil {
			t.Fatal(problem)
		}
		r := &request{call: &call{Request: header, issuer: issuer}, message: message, key: key}
		account, err := s.storeAccount(r, acme.AccountRequest{}, r.accountName(key))
		if err == nil {
			s.cluster.Deliver(account)
			s.cluster.Remove(account)
		}
		return err
	}
	for n, want := range []int{0, 0, http.StatusTooManyRequests, http.StatusTooManyRequests} {
		status := 0
		if err := register("192.0.2.1"); err != nil {
			status = answer.ProblemOf(t.Context(), err).Status
		}
		if status != want {
			t.Errorf("registration %d: %d, want %d", n, status, want)
		}
	}
	if err := register("192.0.2.2"); err != nil {
		t.Errorf("from another address: %v", err)
	}
	now = now.Add(time.Hour)
	if err := register("192.0.2.1"); err != nil {
		t.Errorf("after the period: %v", err)
	}
}
