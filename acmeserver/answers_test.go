package acmeserver

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/acmeca/acmeca/acmeserver/answer"
	"github.com/acmeca/acmeca/acmeserver/store/storetest"
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
)

const issuerURL = "https://ca.test/ns/ca/"

// served is an ACME server with two issuers, one of them suspended, and an account.
type served struct {
	*Server
	cluster *storetest.Cluster
	key     crypto.Signer
}

func newServed(t *testing.T) *served {
	t.Helper()
	cluster := storetest.New(t)
	issuer := &v1alpha1.AcmeIssuer{}
	issuer.Namespace, issuer.Name, issuer.ResourceVersion = "ns", "ca", "1"
	issuer.Spec.Profiles = []v1alpha1.Profile{{Name: "default", MaxIdentifiers: 10, Lifetime: metav1.Duration{Duration: time.Hour}}}
	issuer.Spec.Challenges.Types = []acme.ChallengeType{acme.HTTP01}
	issuer.Spec.Account.MaxPendingOrders, issuer.Spec.Account.MaxPendingAuthorizations = 10, 10
	issuer.Spec.RateLimits.NewOrders = &v1alpha1.RateLimit{Count: 1, Period: metav1.Duration{Duration: 24 * time.Hour}}
	issuer.Status.BaseURLs = []string{strings.TrimSuffix(issuerURL, "/")}
	issuer.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: "True", Reason: "Ready"}}
	cluster.Deliver(issuer)
	suspended := issuer.DeepCopy()
	suspended.Name, suspended.Spec.Suspend = "suspended", true
	suspended.Status.BaseURLs = []string{"https://ca.test/ns/suspended"}
	cluster.Deliver(suspended)
	s := &served{cluster: cluster, key: jwstest.NewKey(t, "ES256")}
	account := &v1alpha1.AcmeAccount{}
	account.Namespace, account.Name = "ns", "me"
	account.Spec.IssuerRef.Name = "ca"
	account.Status.State, account.Status.JWK = acme.StateValid, string(jwstest.Key(t, s.key).JSON())
	cluster.Deliver(account)
	ofSuspended := account.DeepCopy()
	ofSuspended.Name, ofSuspended.Spec.IssuerRef.Name = "other", "suspended"
	cluster.Deliver(ofSuspended)
	var err error
	if s.Server, err = New(t.Context(), cluster.Cache, cluster.Live, Options{}); err != nil {
		t.Fatal(err)
	}
	return s
}

// sign returns a request that the account signed.
func (s *served) sign(t *testing.T, url, kid string, payload any) []byte {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodHead, issuerURL+"acme/new-nonce", nil))
	return jwstest.Sign(t, s.key, jwstest.Header{"kid": kid, "nonce": w.Header().Get("Replay-Nonce"), "url": url}, payload)
}

func jose(t *testing.T, url string, body io.Reader) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
	r.Header.Set("Content-Type", "application/jose+json")
	return r
}

// Whichever layer refuses a signed request, the client gets a problem document, a nonce for its next request, and a
// Retry-After that is short enough for every client.
func TestEveryErrorAnswerToASignedRequest(t *testing.T) {
	const kid = issuerURL + "acme/acct/me"
	order := map[string]any{"identifiers": []map[string]string{{"type": "dns", "value": "a.test"}}}
	for name, test := range map[string]struct {
		path    string // below issuerURL, or a whole URL
		payload any
		kid     string
		change  func(*testing.T, *served, *http.Request)
		status  int
		problem acme.ProblemType
	}{
		"no such issuer":     {path: "https://ca.test/ns/none/acme/new-order", status: 404, problem: acme.Malformed},
		"no such resource":   {path: "acme/no-such-thing", status: 404, problem: acme.Malformed},
		"an escaped path":    {path: "acme/new%2Dorder", status: 404, problem: acme.Malformed},
		"an empty segment":   {path: "acme//new-order", status: 404, problem: acme.Malformed},
		"a resource to GET":  {path: "acme/renewal-info/a.b", status: 405, problem: acme.Malformed},
		"no such order":      {path: "acme/order/none", status: 404, problem: acme.Malformed},
		"not an order's id":  {path: "acme/order/N_ne", status: 404, problem: acme.Malformed},
		"a payload":          {path: "acme/order/none", payload: map[string]any{}, status: 400, problem: acme.Malformed},
		"no payload":         {path: "acme/new-order", status: 400, problem: acme.Malformed},
		"a kid for a jwk":    {path: "acme/new-account", payload: map[string]any{}, status: 400, problem: acme.Malformed},
		"no such account":    {path: "acme/new-order", payload: order, kid: issuerURL + "acme/acct/none", status: 400, problem: acme.AccountDoesNotExist},
		"a suspended issuer": {path: "https://ca.test/ns/suspended/acme/new-order", payload: order, kid: "https://ca.test/ns/suspended/acme/acct/other", status: 503, problem: acme.ServerInternal},
		"a wrong media type": {path: "acme/new-order", status: 415, problem: acme.Malformed, change: func(_ *testing.T, _ *served, r *http.Request) {
			r.Header.Set("Content-Type", "application/json")
		}},
		"a large body": {path: "acme/new-order", status: 413, problem: acme.Malformed, change: func(_ *testing.T, _ *served, r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(strings.Repeat(" ", maxBody+1))), maxBody+1
		}},
		"a large body of unknown length": {path: "acme/new-order", status: 413, problem: acme.Malformed, change: func(_ *testing.T, _ *served, r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(strings.Repeat(" ", maxBody+1))), -1
		}},
		"a body that breaks off": {path: "acme/new-order", status: 400, problem: acme.Malformed, change: func(_ *testing.T, _ *served, r *http.Request) {
			r.Body = io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF))
		}},
		"no JSON": {path: "acme/new-order", status: 400, problem: acme.Malformed, change: func(_ *testing.T, _ *served, r *http.Request) {
			r.Body = io.NopCloser(strings.NewReader("no JSON"))
		}},
		"another URL": {path: "acme/new-order?a=b", payload: order, status: 403, problem: acme.Unauthorized},
		"a used nonce": {path: "acme/order/none", status: 400, problem: acme.BadNonce, change: func(t *testing.T, s *served, r *http.Request) {
			body := s.sign(t, r.URL.String(), kid, nil)
			s.ServeHTTP(httptest.NewRecorder(), jose(t, r.URL.String(), strings.NewReader(string(body))))
			r.Body = io.NopCloser(strings.NewReader(string(body)))
		}},
		"a wrong signature": {path: "acme/order/none", status: 400, problem: acme.Malformed, change: func(t *testing.T, s *served, r *http.Request) {
			s.key = jwstest.NewKey(t, "ES256")
			r.Body = io.NopCloser(strings.NewReader(string(s.sign(t, r.URL.String(), kid, nil))))
		}},
		"a deactivated account": {path: "acme/order/none", status: 401, problem: acme.Unauthorized, change: func(_ *testing.T, s *served, _ *http.Request) {
			account := &v1alpha1.AcmeAccount{}
			account.Namespace, account.Name, account.ResourceVersion = "ns", "me", "2"
			account.Spec.IssuerRef.Name = "ca"
			account.Status.State, account.Status.JWK = acme.StateDeactivated, string(jwstest.Key(t, s.key).JSON())
			s.cluster.Deliver(account)
		}},
		"a rate limit": {path: "acme/new-order", payload: order, status: 429, problem: acme.RateLimited, change: func(_ *testing.T, s *served, _ *http.Request) {
			made := &v1alpha1.AcmeOrder{}
			made.Namespace, made.Name, made.CreationTimestamp = "ns", "made", metav1.Now()
			made.Spec.IssuerRef.Name, made.Spec.AccountRef.Name = "ca", "me"
			s.cluster.Deliver(made)
		}},
		"an API server that fails": {path: "acme/new-order", payload: order, status: 503, problem: acme.ServerInternal, change: func(_ *testing.T, s *served, _ *http.Request) {
			s.cluster.Live.Fail = func() error { return errors.New("down") }
		}},
		"a quota": {path: "acme/new-order", payload: order, status: 503, problem: acme.ServerInternal, change: func(_ *testing.T, s *served, _ *http.Request) {
			s.cluster.Live.Fail = func() error {
				return apierrors.NewForbidden(schema.GroupResource{Resource: "acmeorders"}, "o", errors.New("exceeded quota: q"))
			}
		}},
		"a panic": {path: "acme/order/none", status: 500, problem: acme.ServerInternal, change: func(_ *testing.T, s *served, _ *http.Request) {
			s.cluster.Live.Fail = func() error { panic("a mistake in the server") }
		}},
		"overload": {path: "acme/new-order", payload: order, status: 503, problem: acme.RateLimited, change: func(_ *testing.T, s *served, r *http.Request) {
			for s.requests.Acquire(s.clientOf(r)) {
				continue
			}
		}},
		"too many bodies": {path: "acme/new-order", payload: order, status: 503, problem: acme.RateLimited, change: func(_ *testing.T, s *served, r *http.Request) {
			for s.bodies.Acquire(s.clientOf(r)) {
				continue
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServed(t)
			url := test.path
			if !strings.HasPrefix(url, "https:") {
				url = issuerURL + url
			}
			signer := test.kid
			if signer == "" {
				signer = kid
			}
			r := jose(t, url, strings.NewReader(string(s.sign(t, url, signer, test.payload))))
			if test.change != nil {
				test.change(t, s, r)
			}
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if err := s.checkError(w.Result(), test.status, test.problem); err != nil {
				t.Error(err)
			}
		})
	}
}

// checkError checks the answer to a signed request that was refused.
func (s *served) checkError(r *http.Response, status int, kind acme.ProblemType) error {
	var problem answer.ProblemDocument
	if err := json.NewDecoder(r.Body).Decode(&problem); err != nil {
		return fmt.Errorf("status %d without a problem document: %w", r.StatusCode, err)
	}
	nonce := r.Header.Get("Replay-Nonce")
	_, undecodable := base64.RawURLEncoding.Strict().DecodeString(nonce)
	_, unknown := s.nonces.Open(nonce)
	retryAfter, err := strconv.Atoi(r.Header.Get("Retry-After"))
	mayRetry := status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests
	switch {
	case r.StatusCode != status || problem.Type != kind.URN():
		return fmt.Errorf("%d %+v", r.StatusCode, problem)
	case r.Header.Get("Content-Type") != "application/problem+json":
		return fmt.Errorf("Content-Type %q", r.Header.Get("Content-Type"))
	case undecodable != nil || unknown != nil:
		return fmt.Errorf("nonce %q: %w, %w", nonce, undecodable, unknown)
	case mayRetry && (err != nil || retryAfter < 1 || retryAfter > 600) || !mayRetry && r.Header.Get("Retry-After") != "":
		return fmt.Errorf("Retry-After %q", r.Header.Get("Retry-After"))
	case len(r.Header.Values("Access-Control-Allow-Origin"))+len(r.Header.Values("Access-Control-Expose-Headers")) > 0:
		return errors.New("headers for browsers, though no browser asks")
	}
	return nil
}

// Ruby's acme-client before 2.0.16 fails if the directory comes with a nonce.
func TestOnlyNewNonceHasANonceWithoutAPost(t *testing.T) {
	s := newServed(t)
	for path, want := range map[string]bool{"acme/directory": false, "acme/new-nonce": true, "acme/new-order": false, "acme/no-such-thing": false, "": false} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			w := httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, issuerURL+path, nil))
			if got := w.Header().Get("Replay-Nonce") != ""; got != want {
				t.Errorf("%s %s: %d with a nonce: %v", method, path, w.Code, got)
			}
		}
	}
}

// getssl 2.51 finds "location" in Access-Control-Expose-Headers.
func TestHeadersForBrowsersAreSentToBrowsers(t *testing.T) {
	s := newServed(t)
	for _, url := range []string{issuerURL + "acme/directory", issuerURL + "acme/no-such-thing", "https://ca.test/no/issuer/acme/directory"} {
		for _, origin := range []string{"", "https://browser.test"} {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
			if origin != "" {
				r.Header.Set("Origin", origin)
			}
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if got := w.Header().Get("Access-Control-Allow-Origin") == "*" && w.Header().Get("Access-Control-Expose-Headers") != ""; got != (origin != "") {
				t.Errorf("%s from %q: %v", url, origin, w.Header())
			}
			if w.Header().Get("Vary") != "Origin" {
				t.Errorf("%s: caches are not told that the headers differ: %v", url, w.Header())
			}
		}
	}
}

// HAProxy counts Retry-After of a challenge against its retries, and gives up after about four of them.
func TestRetryAfterOfAValidation(t *testing.T) {
	s := newServed(t)
	for name, test := range map[string]struct {
		tried *v1alpha1.ChallengeStatus
		want  string
	}{
		"before the first attempt":     {nil, ""},
		"after an attempt that failed": {&v1alpha1.ChallengeStatus{Type: acme.HTTP01, State: acme.StateProcessing}, "5"},
	} {
		authz := &v1alpha1.AcmeAuthorization{}
		authz.Namespace, authz.Name, authz.UID = "ns", "validating", "uid"
		authz.Spec.IssuerRef.Name, authz.Spec.AccountRef.Name = "ca", "me"
		authz.Spec.Challenges = []v1alpha1.Challenge{{Type: acme.HTTP01, Token: "token"}}
		authz.Spec.Response = &v1alpha1.ChallengeResponse{Type: acme.HTTP01}
		authz.Status.Challenge = test.tried
		s.cluster.Deliver(authz)
		for path, want := range map[string]string{acme.ChallengePath("validating", acme.HTTP01): test.want, acme.AuthorizationPath("validating"): ""} {
			url := issuerURL + path
			w := httptest.NewRecorder()
			s.ServeHTTP(w, jose(t, url, strings.NewReader(string(s.sign(t, url, issuerURL+"acme/acct/me", nil)))))
			if got := w.Header().Get("Retry-After"); w.Code != http.StatusOK || got != want {
				t.Errorf("%s, %s: %d, Retry-After %q, want %q", name, path, w.Code, got, want)
			}
		}
	}
}
