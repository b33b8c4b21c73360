package acmeserver

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

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

// After a restore without status, the controllers hold an account that changed its key. Its client is told so at once, by the key
// of the registration and by a claimed one.
func TestTheProblemOfAHeldAccountIsTold(t *testing.T) {
	s := newServed(t)
	first, second := jwstest.Key(t, jwstest.NewKey(t, "ES256")), jwstest.Key(t, jwstest.NewKey(t, "ES256"))
	issuer := s.setOrderLimit(t, nil)
	r := &request{call: &call{Request: httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil), issuer: issuer}}
	held := &v1alpha1.AcmeAccount{}
	held.Namespace, held.Name, held.Spec.IssuerRef.Name = "ns", r.accountName(first).Name, "ca"
	held.Status.State = acme.StatePending
	held.Status.Problem = v1alpha1.ProblemFrom(acme.NewProblem(acme.Unauthorized, "the account changed its key, but its status is missing"))
	claim := &v1alpha1.AcmeAccount{}
	claim.Namespace, claim.Name, claim.Spec.IssuerRef.Name, claim.Spec.KeyClaimFor = "ns", r.accountName(second).Name, "ca", held.Name
	s.cluster.Deliver(held)
	s.cluster.Deliver(claim)
	for name, key := range map[string]*jws.Key{"the first key": first, "a claimed key": second} {
		_, err := s.accountWithKey(t.Context(), r.accountName(key), key)
		if err == nil {
			t.Errorf("%s is accepted", name)
			continue
		}
		if p := answer.ProblemOf(t.Context(), err); p.Status != http.StatusForbidden || p.Detail != "the account changed its key, but its status is missing" {
			t.Errorf("%s: %v", name, p)
		}
	}
}

// Each key change leaves a claim for the life of the account.
func TestKeyChangesAreLimited(t *testing.T) {
	for name, c := range map[string]struct {
		most   int
		limit  *v1alpha1.RateLimit
		status int // of a change to a third key, 0 if it is allowed
	}{
		"without limits":    {100, nil, 0},
		"as many as may be": {2, nil, http.StatusForbidden},
		"rate":              {100, &v1alpha1.RateLimit{Count: 1, Period: metav1.Duration{Duration: time.Hour}}, http.StatusTooManyRequests},
		"a rate that fits":  {100, &v1alpha1.RateLimit{Count: 2, Period: metav1.Duration{Duration: time.Hour}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServed(t)
			issuer := s.setOrderLimit(t, nil)
			issuer.Spec.Account.MaxKeyChanges, issuer.Spec.RateLimits.KeyChanges = c.most, c.limit
			account := &v1alpha1.AcmeAccount{}
			account.Namespace, account.Name, account.Spec.IssuerRef.Name = "ns", "me", "ca"
			r := &request{call: &call{Request: httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil), issuer: issuer}, account: account, message: &jws.Message{}}
			change := func(key *jws.Key) int {
				if err := s.claimKey(r, r.accountName(key), key); err != nil {
					return answer.ProblemOf(t.Context(), err).Status
				}
				return 0
			}
			var last *jws.Key
			for _, age := range []time.Duration{2 * time.Hour, time.Minute} {
				last = jwstest.Key(t, jwstest.NewKey(t, "ES256"))
				claim := &v1alpha1.AcmeAccount{}
				claim.Namespace, claim.Name, claim.UID = "ns", r.accountName(last).Name, types.UID(age.String())
				claim.Spec.IssuerRef.Name, claim.Spec.KeyClaimFor, claim.CreationTimestamp = "ca", "me", metav1.NewTime(time.Now().Add(-age))
				s.cluster.Deliver(claim)
			}
			if got := change(jwstest.Key(t, jwstest.NewKey(t, "ES256"))); got != c.status {
				t.Errorf("to another key: %d, want %d", got, c.status)
			}
			if got := change(last); got != 0 {
				t.Errorf("to a key that it claimed before: %d", got)
			}
		})
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
