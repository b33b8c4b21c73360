package acmeserver

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

// Before there is an issuer, clients are told to try again, and people what to apply. Only the default issuer is expected.
func TestAMissingDefaultIssuerIsNamed(t *testing.T) {
	s := newServed(t)
	s.defaultIssuer = types.NamespacedName{Namespace: "pki", Name: "corp"}
	for name, test := range map[string]struct {
		method, url string
		status      int
		kind, want  string
	}{
		"the directory":           {"GET", "https://ca.test/acme/directory", 503, "application/problem+json", `default issuer \"corp\" does not exist in the namespace \"pki\"`},
		"the directory in full":   {"GET", "https://ca.test/pki/corp/acme/directory", 503, "application/problem+json", "create this AcmeIssuer"},
		"a request":               {"POST", "https://ca.test/acme/new-account", 503, "application/problem+json", "create this AcmeIssuer"},
		"the page":                {"GET", "https://ca.test/", 503, "text/html; charset=utf-8", "namespace: pki"},
		"the page in full":        {"HEAD", "https://ca.test/pki/corp/", 503, "text/html; charset=utf-8", ""},
		"another issuer":          {"GET", "https://ca.test/pki/other/acme/directory", 404, "application/problem+json", "issuer"},
		"the page of another one": {"GET", "https://ca.test/pki/other/", 404, "application/problem+json", "issuer"},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), test.method, test.url, http.NoBody))
			if w.Code != test.status || w.Header().Get("Content-Type") != test.kind || !strings.Contains(w.Body.String(), test.want) {
				t.Errorf("got %d %s %s", w.Code, w.Header().Get("Content-Type"), w.Body)
			}
			if retry := w.Header().Get("Retry-After"); (retry != "") != (test.status == 503) {
				t.Errorf("Retry-After is %q", retry)
			}
		})
	}
}
