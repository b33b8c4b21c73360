package acmeserver

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
)

// storage sets the condition of the issuer's storage.
func (s *served) storage(t *testing.T, reason string) {
	t.Helper()
	found, err := s.issuers.Get(t.Context(), types.NamespacedName{Namespace: "ns", Name: "ca"})
	if err != nil {
		t.Fatal(err)
	}
	issuer := &v1alpha1.AcmeIssuer{Spec: *found.Spec.DeepCopy(), Status: *found.Status.DeepCopy()}
	issuer.Namespace, issuer.Name, issuer.ResourceVersion = "ns", "ca", "7"
	issuer.Spec.RateLimits.NewOrders = nil
	issuer.Status.Conditions = append(issuer.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionStoragePressure, Status: "True", Reason: reason})
	s.cluster.Deliver(issuer)
}

// With little room, an issuer accepts no new objects, but clients can finish their orders. Without room, clients can only give things up.
func TestRequestsOfAnIssuerWithoutRoom(t *testing.T) {
	const nearly, full, exceeded = v1alpha1.ReasonStorageNearLimit, v1alpha1.ReasonStorageLimitReached, v1alpha1.ReasonStorageLimitExceeded
	names := []map[string]string{{"type": "dns", "value": "a.test"}}
	for name, test := range map[string]struct {
		path    string
		payload any
		jwk     bool
		refused []string // the reasons with which the request is refused
	}{
		"a new account":       {path: "acme/new-account", payload: map[string]any{}, jwk: true, refused: []string{full, exceeded}},
		"a new order":         {path: "acme/new-order", payload: map[string]any{"identifiers": names}, refused: []string{full, exceeded}},
		"a pre-authorization": {path: "acme/new-authz", payload: map[string]any{"identifier": names[0]}, refused: []string{full, exceeded}},
		"a response":          {path: "acme/chall/authz.http-01", payload: map[string]any{}, refused: []string{exceeded}},
		"an update":           {path: "acme/acct/me", payload: map[string]any{"contact": []string{"mailto:a@a.test"}}, refused: []string{exceeded}},
		"a read":              {path: "acme/acct/me/orders"},
		"a deactivation":      {path: "acme/acct/me", payload: map[string]any{"status": "deactivated"}},
	} {
		for _, reason := range []string{nearly, full, exceeded} {
			t.Run(name+" "+reason, func(t *testing.T) {
				s := newServed(t)
				authz := &v1alpha1.AcmeAuthorization{}
				authz.Namespace, authz.Name, authz.CreationTimestamp = "ns", "authz", metav1.Now()
				authz.Spec.IssuerRef.Name, authz.Spec.AccountRef.Name = "ca", "me"
				authz.Spec.Challenges = []v1alpha1.Challenge{{Type: acme.HTTP01, Token: "token"}}
				authz.Status.State, authz.Status.Expires = acme.StatePending, &metav1.Time{Time: time.Now().Add(time.Hour)}
				s.cluster.Deliver(authz)
				s.storage(t, reason)
				s.cluster.Live.Fail = func() error { return fmt.Errorf("the request is stored") }
				body := s.sign(t, issuerURL+test.path, issuerURL+"acme/acct/me", test.payload)
				if test.jwk {
					body = s.signAnew(t, issuerURL+test.path, test.payload)
				}
				w := httptest.NewRecorder()
				s.ServeHTTP(w, jose(t, issuerURL+test.path, strings.NewReader(string(body))))
				refused := strings.Contains(w.Body.String(), "the issuer's storage is full")
				want := false
				for _, r := range test.refused {
					want = want || r == reason
				}
				if refused != want {
					t.Fatalf("%d %s", w.Code, w.Body)
				}
				if refused {
					if w.Header().Get("Retry-After") != "60" {
						t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
					}
					if err := s.checkError(w.Result(), http.StatusServiceUnavailable, acme.RateLimited); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
}

// signAnew returns a request that a new key signed.
func (s *served) signAnew(t *testing.T, url string, payload any) []byte {
	t.Helper()
	key := jwstest.NewKey(t, "ES256")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodHead, issuerURL+"acme/new-nonce", nil))
	return jwstest.Sign(t, key, jwstest.Header{"jwk": jwstest.JWK(t, key), "nonce": w.Header().Get("Replay-Nonce"), "url": url}, payload)
}

// Unfinished objects are bounded in bytes: new ones first, and then requests for those that an account has.
func TestPendingBytesAreBounded(t *testing.T) {
	for name, test := range map[string]struct {
		csr            int
		order, respond int // statuses
	}{
		"with room":           {100, http.StatusCreated, http.StatusOK},
		"with a large order":  {30 << 10, http.StatusServiceUnavailable, http.StatusOK},
		"with a larger order": {60 << 10, http.StatusServiceUnavailable, http.StatusServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServed(t)
			s.setOrderLimit(t, nil)
			s.maxPendingBytes = 128 << 10 // an account may use 32 KiB, and 48 KiB in the end
			large := s.stored("large", acme.StateValid)
			large.ResourceVersion = "2"
			large.Spec.Finalization = &v1alpha1.Finalization{Request: v1alpha1.SignedRequest{Payload: strings.Repeat("A", test.csr)}}
			s.cluster.Deliver(large)
			s.stored("other", acme.StatePending)
			authz := &v1alpha1.AcmeAuthorization{}
			authz.Namespace, authz.Name, authz.CreationTimestamp, authz.ResourceVersion = "ns", "authz", metav1.Now(), "1"
			authz.Spec.IssuerRef.Name, authz.Spec.AccountRef.Name = "ca", "me"
			authz.Spec.Challenges = []v1alpha1.Challenge{{Type: acme.HTTP01, Token: "token"}}
			authz.Status.State, authz.Status.Expires = acme.StatePending, &metav1.Time{Time: time.Now().Add(time.Hour)}
			s.cluster.Deliver(authz)
			s.cluster.Live.Fail = func() error { return fmt.Errorf("the request is stored") }
			stored := func(w *httptest.ResponseRecorder) bool {
				return !strings.Contains(w.Body.String(), "the server is busy")
			}
			order := s.post(t, "acme/new-order", map[string]any{"identifiers": []map[string]string{{"type": "dns", "value": "b.test"}}})
			respond := s.post(t, "acme/chall/authz.http-01", map[string]any{})
			if stored(order) != (test.order == http.StatusCreated) || stored(respond) != (test.respond == http.StatusOK) {
				t.Errorf("a new order: %d %s; a response: %d %s", order.Code, order.Body, respond.Code, respond.Body)
			}
		})
	}
}
