package acmeserver

import (
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/acmeca/acmeca/acmeserver/issuers"
	"github.com/acmeca/acmeca/acmeserver/store"
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/policy"
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

// issued stores an order of the account with a certificate for a.test that is valid for three hours.
func (s *served) issued(t *testing.T, name string, notBefore time.Time) acme.CertID {
	t.Helper()
	return s.issuedTo(t, "me", name, 1, notBefore)
}

func (s *served) issuedTo(t *testing.T, account, name string, serial int64, notBefore time.Time) acme.CertID {
	t.Helper()
	id := acme.NewCertID([]byte("key"), big.NewInt(serial))
	order := s.stored(name, acme.StateValid)
	order.ResourceVersion, order.CreationTimestamp, order.Spec.AccountRef.Name = "2", metav1.NewTime(notBefore), account
	order.Status.State, order.Status.Serial, order.Status.CertificateID = acme.StateValid, v1alpha1.SerialText(big.NewInt(serial)), id.String()
	from, to := metav1.NewTime(notBefore), metav1.NewTime(notBefore.Add(3*time.Hour))
	order.Status.NotBefore, order.Status.NotAfter = &from, &to
	s.cluster.Deliver(order)
	return id
}

func (s *served) setOrderLimit(t *testing.T, limit *v1alpha1.RateLimit) *issuers.Issuer {
	t.Helper()
	issuer, err := s.issuers.Get(t.Context(), types.NamespacedName{Namespace: "ns", Name: "ca"})
	if err != nil {
		t.Fatal(err)
	}
	issuer.Spec.RateLimits.NewOrders = limit
	return issuer
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
		s.setOrderLimit(t, nil)
		id := s.issued(t, "replaced", time.Now())
		earlier := s.stored("earlier", state)
		earlier.ResourceVersion, earlier.Spec.Replaces = "2", id.String()
		s.cluster.Deliver(earlier)
		w := s.post(t, acme.NewOrderPath, map[string]any{"identifiers": []map[string]string{{"type": "dns", "value": "a.test"}}, "replaces": id.String()})
		if w.Code != status {
			t.Errorf("while an authorization of the earlier order is %s: %d %s", state, w.Code, w.Body)
		}
	}
}

// cert-manager sends "replaces" of another CA's certificate after its issuer was changed. It orders again without it only after
// alreadyReplaced, or a malformed problem whose detail has "replaces".
func TestARefusedReplacementNamesItsField(t *testing.T) {
	s := newServed(t)
	s.setOrderLimit(t, nil)
	id := s.issued(t, "replaced", time.Now())
	for name, test := range map[string]struct{ certID, name string }{
		"of another CA":         {acme.NewCertID([]byte("another CA's key"), big.NewInt(77)).String(), "a.test"},
		"that is no identifier": {strings.Repeat("A", 300) + ".AQ", "a.test"},
		"with other names":      {id.String(), "b.test"},
		"of another account":    {s.issuedTo(t, "another", "others", 2, time.Now()).String(), "a.test"},
	} {
		w := s.post(t, acme.NewOrderPath, newOrderOf(test.name, test.certID))
		var problem struct{ Type, Detail string }
		if err := json.Unmarshal(w.Body.Bytes(), &problem); err != nil {
			t.Fatal(err)
		}
		if w.Code != http.StatusBadRequest || !strings.HasSuffix(problem.Type, ":malformed") || !strings.Contains(problem.Detail, "replaces") {
			t.Errorf("a certificate %s: %d %s", name, w.Code, w.Body)
		}
	}
}

func newOrderOf(name, replaces string) map[string]any {
	return map[string]any{"identifiers": []map[string]string{{"type": "dns", "value": name}}, "replaces": replaces}
}

// cert-manager repeats newOrder many times a second at a server that returns an earlier, valid order.
func TestEveryNewOrderIsAnother(t *testing.T) {
	s := newServed(t)
	s.setOrderLimit(t, nil)
	s.issued(t, "earlier", time.Now())
	locations := map[string]bool{issuerURL + acme.OrderPath("earlier"): true}
	for range 3 {
		w := s.post(t, acme.NewOrderPath, newOrderOf("a.test", ""))
		var order struct{ Status acme.State }
		if err := json.Unmarshal(w.Body.Bytes(), &order); err != nil {
			t.Fatal(err)
		}
		if location := w.Header().Get("Location"); w.Code != http.StatusCreated || order.Status == acme.StateValid || locations[location] {
			t.Fatalf("%d, %s at %s", w.Code, order.Status, location)
		} else {
			locations[location] = true
		}
	}
}

// certbot and lego refuse a window that does not end after its start, also for a revoked certificate.
func TestTheWindowOfARevokedCertificateEndsAfterItsStart(t *testing.T) {
	s := newServed(t)
	for i, revokedAfter := range []time.Duration{-time.Hour, 0, time.Second, 2 * time.Hour} {
		name := fmt.Sprintf("revoked%d", i)
		id := s.issuedTo(t, "me", name, int64(i+1), time.Now())
		cached, err := s.store.Orders.GetCached(t.Context(), types.NamespacedName{Namespace: "ns", Name: name})
		if err != nil {
			t.Fatal(err)
		}
		order := cached.DeepCopy()
		order.ResourceVersion, order.Status.RevokedAt = "3", &metav1.Time{Time: time.Now().Add(revokedAfter)}
		s.cluster.Deliver(order)
		w := s.get(t, acme.RenewalInfoOf(id.String()))
		var document struct {
			SuggestedWindow struct{ Start, End time.Time }
		}
		if err := json.Unmarshal(w.Body.Bytes(), &document); err != nil {
			t.Fatal(err)
		}
		if window := document.SuggestedWindow; w.Code != http.StatusOK || window.Start.IsZero() || !window.End.After(window.Start) {
			t.Errorf("revoked after %s: %d %s", revokedAfter, w.Code, w.Body)
		}
	}
}

// largestNames returns identifiers with the longest names.
func largestNames(n int) []v1alpha1.Identifier {
	long := strings.Repeat(strings.Repeat("a", 63)+".", 3)
	var ids []v1alpha1.Identifier
	for i := range n {
		ids = append(ids, v1alpha1.Identifier{Type: acme.DNS, Value: fmt.Sprintf("*.%s%0*d", long, acme.MaxNameLength-len(long), i)})
	}
	return ids
}

func TestAnOrderIsWithinItsBound(t *testing.T) {
	s := newServed(t)
	order := s.stored(v1alpha1.NewObjectName(time.Now()), acme.StatePending)
	order.ResourceVersion, order.Spec.Identifiers, order.Spec.Authorizations = "2", largestNames(100), nil
	for i := range order.Spec.Identifiers {
		order.Spec.Authorizations = append(order.Spec.Authorizations, v1alpha1.OwnAuthorization(order.Name, i))
	}
	s.cluster.Deliver(order)
	w := s.post(t, acme.OrderPath(order.Name), nil)
	bound := policy.OrderSize(acme.Base(strings.TrimSuffix(issuerURL, "/")), len(order.Spec.Identifiers))
	t.Logf("%d bytes, bound %d", w.Body.Len(), bound)
	if w.Code != http.StatusOK || w.Body.Len() > bound || bound > policy.MaxClientAnswer {
		t.Errorf("%d, %d bytes, bound %d", w.Code, w.Body.Len(), bound)
	}
}

func TestTheLargestDirectoryIsReadByAllClients(t *testing.T) {
	s := newServed(t)
	spec := s.setOrderLimit(t, nil).Spec
	long := strings.Repeat("<", 512)
	spec.Account.TermsOfService, spec.Account.Website = long, long
	spec.Challenges.Types = []acme.ChallengeType{acme.DNSPersist01}
	spec.Profiles = nil
	for i := range 16 {
		name := fmt.Sprintf("%063d", i)
		spec.Profiles = append(spec.Profiles, v1alpha1.Profile{Name: name, Description: long[:256]})
		spec.Validation.CAAIdentities = append(spec.Validation.CAAIdentities[:min(i, 7)], name+strings.Repeat(".a", 95))
	}
	w := s.get(t, acme.DirectoryPath)
	t.Logf("%d bytes", w.Body.Len())
	if w.Code != http.StatusOK || w.Body.Len() > policy.MaxClientAnswer {
		t.Errorf("%d, %d bytes", w.Code, w.Body.Len())
	}
}

func TestOrdersThatAreInvalidForTheirClientAreNotPending(t *testing.T) {
	for state, status := range map[acme.State]int{acme.StatePending: http.StatusServiceUnavailable, acme.StateInvalid: http.StatusCreated} {
		s := newServed(t)
		for i := range s.setOrderLimit(t, nil).Spec.Account.MaxPendingOrders {
			s.stored(fmt.Sprintf("o%d", i), state)
		}
		w := s.post(t, acme.NewOrderPath, map[string]any{"identifiers": []map[string]string{{"type": "dns", "value": "a.test"}}})
		if w.Code != status {
			t.Errorf("with orders whose authorization is %s: %d %s", state, w.Code, w.Body)
		}
	}
}

// An order that names a certificate to replace is exempt from the limit of new orders only as the renewal that was suggested.
func TestOnlyDueRenewalsAreExemptFromTheLimit(t *testing.T) {
	for name, test := range map[string]struct {
		age    time.Duration // of the certificate, which is valid for three hours
		names  []string
		status int
	}{
		"in the window":               {150 * time.Minute, []string{"a.test"}, http.StatusCreated},
		"in the window, written big":  {150 * time.Minute, []string{"A.test", "a.test"}, http.StatusCreated},
		"at once":                     {time.Minute, []string{"a.test"}, http.StatusTooManyRequests},
		"after the certificate's end": {4 * time.Hour, []string{"a.test"}, http.StatusTooManyRequests},
		"with another name":           {150 * time.Minute, []string{"a.test", "b.test"}, http.StatusTooManyRequests},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServed(t)
			id := s.issued(t, "replaced", time.Now().Add(-test.age)) // counts, so that the limit of 1 is used up
			s.setOrderLimit(t, &v1alpha1.RateLimit{Count: 1, Period: metav1.Duration{Duration: 24 * time.Hour}})
			var identifiers []map[string]string
			for _, n := range test.names {
				identifiers = append(identifiers, map[string]string{"type": "dns", "value": n})
			}
			w := s.post(t, acme.NewOrderPath, map[string]any{"identifiers": identifiers, "replaces": id.String()})
			if w.Code != test.status {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
}

func TestRenewalsThatFailCount(t *testing.T) {
	for state, status := range map[acme.State]int{acme.StateProcessing: http.StatusCreated, acme.StateValid: http.StatusCreated, acme.StateInvalid: http.StatusTooManyRequests} {
		s := newServed(t)
		renewal := s.stored("renewal", acme.StateValid)
		renewal.ResourceVersion, renewal.Annotations = "2", map[string]string{store.RenewalAnnotation: "true"}
		renewal.Status.State = state
		s.cluster.Deliver(renewal)
		w := s.post(t, acme.NewOrderPath, map[string]any{"identifiers": []map[string]string{{"type": "dns", "value": "b.test"}}})
		if w.Code != status {
			t.Errorf("after a renewal that is %s: %d %s", state, w.Code, w.Body)
		}
	}
}

// A list of orders comes in pages, and has no invalid orders.
func TestPagesOfOrders(t *testing.T) {
	s := newServed(t)
	for i := range 250 {
		order := &v1alpha1.AcmeOrder{}
		order.Namespace, order.Name, order.ResourceVersion = "ns", fmt.Sprintf("o%03d", i), "1"
		order.Spec.IssuerRef.Name, order.Spec.AccountRef.Name = "ca", []string{"me", "you"}[i%2]
		order.Status.State = []acme.State{acme.StatePending, acme.StateValid, acme.StateValid, acme.StateInvalid}[i/2%4]
		s.cluster.Finish(order)
	}
	path, seen := acme.OrdersPath("me"), 0
	for path != "" {
		w := s.post(t, path, nil)
		var document ordersDocument
		if err := json.Unmarshal(w.Body.Bytes(), &document); err != nil || w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		for _, url := range document.Orders {
			if seen%4 == 3 {
				seen++ // an invalid one
			}
			if want := fmt.Sprintf("%sacme/order/o%03d", issuerURL, 2*seen); url != want {
				t.Fatalf("has %s, want %s", url, want)
			}
			seen++
		}
		path = ""
		for _, link := range w.Header().Values("Link") {
			if url, isNext := strings.CutSuffix(link, `>;rel="next"`); isNext {
				path = strings.TrimPrefix(url, "<"+issuerURL)
			}
		}
	}
	if seen != 125 {
		t.Errorf("%d orders on the pages", seen)
	}
}
