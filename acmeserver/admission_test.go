package acmeserver

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/acmeca/acmeca/acmeserver/answer"
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
)

// The API server would refuse a request that is larger than its kind allows, and the client would be told of an internal error.
func TestARequestThatIsTooLargeToStoreIsTheClientsFault(t *testing.T) {
	const (
		short   = v1alpha1.MaxShortPayload
		account = v1alpha1.MaxAccountPayload
		long    = v1alpha1.MaxPayload
	)
	for name, test := range map[string]struct {
		path    string
		payload map[string]any
		limit   int // in characters of base64url
	}{
		"a registration":                  {acme.NewAccountPath, map[string]any{}, account},
		"an update":                       {acme.AccountPath("me"), map[string]any{"contact": []string{}}, account},
		"an account's deactivation":       {acme.AccountPath("me"), map[string]any{"status": "deactivated"}, short},
		"a key change":                    {acme.KeyChangePath, map[string]any{}, v1alpha1.MaxKeyChangePayload},
		"a response":                      {acme.ChallengePath("order-0", acme.HTTP01), map[string]any{}, short},
		"an authorization's deactivation": {acme.AuthorizationPath("order-0"), map[string]any{"status": "deactivated"}, short},
		"a finalization":                  {acme.FinalizePath("order"), map[string]any{"csr": "AAAA"}, long},
		"a revocation":                    {acme.RevokeCertPath, map[string]any{"certificate": "AAAA"}, long},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServed(t)
			order := s.stored("order", acme.StatePending)
			authz := &v1alpha1.AcmeAuthorization{}
			authz.Namespace, authz.Name, authz.ResourceVersion, authz.UID = "ns", "order-0", "2", "order-0"
			authz.Spec.IssuerRef, authz.Spec.AccountRef, authz.Spec.Identifier = order.Spec.IssuerRef, order.Spec.AccountRef, order.Spec.Identifiers[0]
			authz.Spec.Challenges = []v1alpha1.Challenge{{Type: acme.HTTP01, Token: "token"}}
			s.cluster.Deliver(authz)
			s.cluster.Live.Fail = func() error { return errors.New("the request reached the API server") }
			padded := maps.Clone(test.payload)
			padded["padding"] = strings.Repeat("x", test.limit*3/4)
			url := issuerURL + test.path
			body := s.sign(t, url, issuerURL+"acme/acct/me", padded)
			if test.path == acme.NewAccountPath {
				body = s.signWithKey(t, url, padded)
			}
			w := httptest.NewRecorder()
			s.ServeHTTP(w, jose(t, url, strings.NewReader(string(body))))
			var problem answer.ProblemDocument
			if err := json.NewDecoder(w.Body).Decode(&problem); err != nil {
				t.Fatal(err)
			}
			if w.Code != http.StatusRequestEntityTooLarge || problem.Type != acme.Malformed.URN() || !strings.Contains(problem.Detail, "limit") {
				t.Errorf("%d %+v", w.Code, problem)
			}
		})
	}
}

// signWithKey returns a request that has the key as "jwk".
func (s *served) signWithKey(t *testing.T, url string, payload any) []byte {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodHead, issuerURL+"acme/new-nonce", nil))
	header := jwstest.Header{"jwk": jwstest.JWK(t, s.key), "nonce": w.Header().Get("Replay-Nonce"), "url": url}
	return jwstest.Sign(t, s.key, header, payload)
}
