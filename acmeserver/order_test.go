package acmeserver

import (
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// stored returns an order of the account with its own authorization in a state, which the controllers have not finished.
func (s *served) stored(name string, state acme.State) *v1alpha1.AcmeOrder {
	order := &v1alpha1.AcmeOrder{}
	order.Namespace, order.Name, order.UID, order.ResourceVersion = "ns", name, types.UID(name), "1"
	order.CreationTimestamp = metav1.Now()
	order.Spec.IssuerRef.Name, order.Spec.AccountRef.Name = "ca", "me"
	order.Spec.Identifiers = []v1alpha1.Identifier{{Type: acme.DNS, Value: "a.test"}}
	order.Spec.Authorizations = []string{v1alpha1.OwnAuthorization(name, 0)}
	s.cluster.Deliver(order)
	authz := &v1alpha1.AcmeAuthorization{}
	authz.Namespace, authz.Name, authz.UID = "ns", order.Spec.Authorizations[0], types.UID(name+"-0")
	authz.Spec.IssuerRef, authz.Spec.AccountRef, authz.Spec.Identifier = order.Spec.IssuerRef, order.Spec.AccountRef, order.Spec.Identifiers[0]
	authz.Status.State = state
	s.cluster.Deliver(authz)
	return order
}

func (s *served) post(t *testing.T, path string, payload any) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, jose(t, issuerURL+path, strings.NewReader(string(s.sign(t, issuerURL+path, issuerURL+"acme/acct/me", payload)))))
	return w
}

func (s *served) get(t *testing.T, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, issuerURL+path, nil))
	return w
}

// An order is invalid for its client as soon as one of its authorizations is, before the controllers write so.
func TestAnOrderThatIsInvalidForItsClientReplacesNothing(t *testing.T) {
	for state, status := range map[acme.State]int{acme.StatePending: http.StatusConflict, acme.StateInvalid: http.StatusCreated} {
		s := newServed(t)
		id := acme.NewCertID([]byte("key"), big.NewInt(1))
		replaced := s.stored("replaced", acme.StateValid)
		replaced.ResourceVersion = "2"
		replaced.Status.State, replaced.Status.Serial, replaced.Status.CertificateID = acme.StateValid, v1alpha1.SerialText(big.NewInt(1)), id.String()
		from, to := metav1.Now(), metav1.NewTime(time.Now().Add(time.Hour))
		replaced.Status.NotBefore, replaced.Status.NotAfter = &from, &to
		s.cluster.Deliver(replaced)
		earlier := s.stored("earlier", state)
		earlier.ResourceVersion, earlier.Spec.Replaces = "2", id.String()
		s.cluster.Deliver(earlier)
		w := s.post(t, acme.NewOrderPath, map[string]any{"identifiers": []map[string]string{{"type": "dns", "value": "a.test"}}, "replaces": id.String()})
		if w.Code != status {
			t.Errorf("while an authorization of the earlier order is %s: %d %s", state, w.Code, w.Body)
		}
	}
}

func TestOrdersThatAreInvalidForTheirClientAreNotPending(t *testing.T) {
	for state, status := range map[acme.State]int{acme.StatePending: http.StatusServiceUnavailable, acme.StateInvalid: http.StatusCreated} {
		s := newServed(t)
		issuer, err := s.issuers.Get(t.Context(), types.NamespacedName{Namespace: "ns", Name: "ca"})
		if err != nil {
			t.Fatal(err)
		}
		issuer.Spec.RateLimits.NewOrders = nil
		for i := range issuer.Spec.Account.MaxPendingOrders {
			s.stored(fmt.Sprintf("o%d", i), state)
		}
		w := s.post(t, acme.NewOrderPath, map[string]any{"identifiers": []map[string]string{{"type": "dns", "value": "a.test"}}})
		if w.Code != status {
			t.Errorf("with orders whose authorization is %s: %d %s", state, w.Code, w.Body)
		}
	}
}
