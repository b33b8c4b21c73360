package acmeserver

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
)

// A quota or an admission policy may deny each write of the ACME server. The client gets the reason, and tries again.
func TestEveryWriteThatTheClusterDenies(t *testing.T) {
	identifier := map[string]string{"type": "dns", "value": "a.test"}
	denials := map[string]error{
		"exceeded quota: q, requested: count/x=1": apierrors.NewForbidden(schema.GroupResource{Resource: "x"}, "o", errors.New("exceeded quota: q, requested: count/x=1")),
		"denied request: not now": apierrors.NewInvalid(schema.GroupKind{Kind: "X"}, "o",
			field.ErrorList{field.Invalid(nil, "", "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: not now")}),
		// Kyverno sets no code, for which the API server answers 400.
		`admission webhook "k" denied the request: policy`: &apierrors.StatusError{ErrStatus: metav1.Status{
			Status: metav1.StatusFailure, Code: 400, Message: `admission webhook "k" denied the request: policy`,
		}},
		`admission webhook "w" denied the request: no`: apierrors.NewForbidden(schema.GroupResource{Resource: "x"}, "o", errors.New(`admission webhook "w" denied the request: no`)),
	}
	for name, write := range map[string]func(*testing.T, *served) *httptest.ResponseRecorder{
		"an account": func(t *testing.T, s *served) *httptest.ResponseRecorder {
			s.key = jwstest.NewKey(t, "ES256")
			url := issuerURL + acme.NewAccountPath
			w := httptest.NewRecorder()
			s.ServeHTTP(w, jose(t, url, strings.NewReader(string(s.signWithKey(t, url, map[string]any{})))))
			return w
		},
		"an update": func(t *testing.T, s *served) *httptest.ResponseRecorder {
			return s.post(t, acme.AccountPath("me"), map[string]any{"contact": []string{"mailto:a@a.test"}})
		},
		"an account's deactivation": func(t *testing.T, s *served) *httptest.ResponseRecorder {
			return s.post(t, acme.AccountPath("me"), map[string]any{"status": "deactivated"})
		},
		"a claim of a key": func(t *testing.T, s *served) *httptest.ResponseRecorder {
			inner := jwstest.KeyChange(t, jwstest.NewKey(t, "ES256"), s.key, issuerURL+acme.AccountPath("me"), issuerURL+acme.KeyChangePath)
			return s.post(t, acme.KeyChangePath, inner)
		},
		"an order": func(t *testing.T, s *served) *httptest.ResponseRecorder {
			return s.post(t, acme.NewOrderPath, map[string]any{"identifiers": []any{identifier}})
		},
		"a pre-authorization": func(t *testing.T, s *served) *httptest.ResponseRecorder {
			return s.post(t, acme.NewAuthzPath, map[string]any{"identifier": identifier})
		},
		"a response": func(t *testing.T, s *served) *httptest.ResponseRecorder {
			s.offer("order-0", acme.StatePending)
			return s.post(t, acme.ChallengePath("order-0", acme.HTTP01), map[string]any{})
		},
		"a response of an authorization that is not stored yet": func(t *testing.T, s *served) *httptest.ResponseRecorder {
			s.cluster.Remove(s.offer("order-0", acme.StatePending))
			return s.post(t, acme.ChallengePath("order-0", acme.HTTP01), map[string]any{})
		},
		"an authorization's deactivation": func(t *testing.T, s *served) *httptest.ResponseRecorder {
			s.offer("order-0", acme.StatePending)
			return s.post(t, acme.AuthorizationPath("order-0"), map[string]any{"status": "deactivated"})
		},
		"a finalization": func(t *testing.T, s *served) *httptest.ResponseRecorder {
			s.offer("order-0", acme.StateValid)
			csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"a.test"}}, jwstest.NewKey(t, "ES256"))
			if err != nil {
				t.Fatal(err)
			}
			return s.post(t, acme.FinalizePath("order"), map[string]any{"csr": base64.RawURLEncoding.EncodeToString(csr)})
		},
		"a revocation": func(t *testing.T, s *served) *httptest.ResponseRecorder {
			der := newAuthority(t).issue(t, big.NewInt(1), time.Now())
			s.issued(t, "issued", time.Now())
			order := s.stored("issued", acme.StateValid)
			order.ResourceVersion, order.Status.State, order.Status.Serial = "3", acme.StateValid, v1alpha1.SerialText(big.NewInt(1))
			order.Status.Certificate = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
			s.cluster.Deliver(order)
			return s.post(t, acme.RevokeCertPath, map[string]any{"certificate": base64.RawURLEncoding.EncodeToString(der)})
		},
	} {
		for reason, denial := range denials {
			t.Run(name+"/"+reason, func(t *testing.T) {
				s := newServed(t)
				lifetimes := &s.setOrderLimit(t, nil).Spec.Lifetimes
				lifetimes.Order.Duration, lifetimes.PendingAuthorization.Duration = time.Hour, time.Hour
				s.stored("order", acme.StatePending)
				s.cluster.Live.Fail = func() error { return denial }
				w := write(t, s)
				body := w.Body.String()
				if err := s.checkError(w.Result(), 503, acme.ServerInternal); err != nil || !strings.Contains(body, jsonText(t, reason)) {
					t.Errorf("%v, %s", err, body)
				}
			})
		}
	}
}

// offer stores an authorization of the order that has a challenge.
func (s *served) offer(name string, state acme.State) *v1alpha1.AcmeAuthorization {
	authz := &v1alpha1.AcmeAuthorization{}
	authz.Namespace, authz.Name, authz.ResourceVersion, authz.CreationTimestamp = "ns", name, "2", metav1.Now()
	authz.UID = "order-0"
	authz.Spec.IssuerRef.Name, authz.Spec.AccountRef.Name, authz.Spec.Identifier = "ca", "me", v1alpha1.Identifier{Type: acme.DNS, Value: "a.test"}
	authz.Spec.Challenges = []v1alpha1.Challenge{{Type: acme.HTTP01, Token: "token"}}
	authz.Status.State = state
	if state == acme.StateValid {
		expires := metav1.NewTime(time.Now().Add(time.Hour))
		authz.Status.Expires = &expires
	}
	s.cluster.Deliver(authz)
	return authz
}

func jsonText(t *testing.T, text string) string {
	t.Helper()
	quoted, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Trim(string(quoted), `"`)
}
