package acmeserver

import (
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
	"github.com/acmeca/acmeca/internal/test/schema"
)

// words are values that clients may send for any text.
var words = []string{
	"", "a.test", "A.TEST.", "*.a.test", "*.*.test", "xn--bcher-kva.test", "b\u00fccher.test", "a..test", ".", strings.Repeat("a.", 126) + "a", strings.Repeat("a", 64) + ".test",
	"10.0.0.1", "::1", "::ffff:10.0.0.1", "fe80::1%eth0", "010.0.0.1", "\x00", "\u202ea.test", strings.Repeat("x", 5000), "a b", "dns", "ip", "default",
	"2026-01-01T00:00:00Z", "2026-01-01t00:00:00z", "9999-12-31T23:59:59Z", "0000-01-01T00:00:00Z", "2026-01-01T00:00:00.123456789123+23:59", "2026-02-30T00:00:00Z",
	"AAAA.AQ", "AAAA.", ".", "mailto:a@a.test", "mailto:a@a.test,b@a.test", "mailto:\u00e4@a.test", "MAILTO:a@a.test", "mailto:" + strings.Repeat("a", 320) + "@a.test",
	"mailto:%00@a.test", "tel:1",
}

// The API server takes whatever the ACME server stores for a client. It would refuse an object beyond the schema, and the client would be
// told of an internal error.
func TestWhateverAClientSendsFitsTheSchemas(t *testing.T) {
	orders, accounts, authorizations := schema.Of(t, &v1alpha1.AcmeOrder{}), schema.Of(t, &v1alpha1.AcmeAccount{}), schema.Of(t, &v1alpha1.AcmeAuthorization{})
	rapid.Check(t, func(rt *rapid.T) {
		word := func(label string) string { return rapid.SampledFrom(words).Draw(rt, label) }
		identifier := func() map[string]string {
			id := map[string]string{"type": rapid.SampledFrom([]string{"dns", "dns", "ip", "other"}).Draw(rt, "type"), "value": word("value")}
			if rapid.Bool().Draw(rt, "below") {
				id["ancestorDomain"] = word("ancestor")
			}
			return id
		}
		order, account := map[string]any{"identifiers": []any{identifier()}}, map[string]any{"contact": []string{word("contact")}}
		for _, name := range []string{"notBefore", "notAfter", "replaces", "profile"} {
			if rapid.IntRange(0, 3).Draw(rt, name) == 0 {
				order[name] = word(name)
			}
		}
		if rapid.Bool().Draw(rt, "two") {
			order["identifiers"] = []any{identifier(), identifier()}
		}
		authorization := map[string]any{"identifier": identifier()}
		synctest.Test(t, func(t *testing.T) {
			s := newServed(t)
			issuer := s.setOrderLimit(t, nil)
			issuer.Spec.Challenges.Subdomains = true
			issuer.Spec.Lifetimes.Order.Duration, issuer.Spec.Lifetimes.PendingAuthorization.Duration = time.Hour, time.Hour
			check := func(kind *schema.Kind, w *httptest.ResponseRecorder, object client.Object, spec any) {
				if w.Code == http.StatusInternalServerError {
					rt.Errorf("%d %s", w.Code, w.Body)
				}
				name := client.ObjectKey{Namespace: "ns", Name: path.Base(w.Header().Get("Location"))}
				if w.Code != http.StatusCreated || s.cluster.Live.Get(t.Context(), name, object) != nil {
					return
				}
				if faults := kind.Faults(t, "spec", spec); len(faults) > 0 {
					rt.Errorf("%v", faults)
				}
			}
			var storedOrder v1alpha1.AcmeOrder
			check(orders, s.post(t, acme.NewOrderPath, order), &storedOrder, &storedOrder.Spec)
			var storedAuthorization v1alpha1.AcmeAuthorization
			check(authorizations, s.post(t, acme.NewAuthzPath, authorization), &storedAuthorization, &storedAuthorization.Spec)

			s.key = jwstest.NewKey(t, "ES256")
			url := issuerURL + acme.NewAccountPath
			w := httptest.NewRecorder()
			s.ServeHTTP(w, jose(t, url, strings.NewReader(string(s.signWithKey(t, url, account)))))
			var storedAccount v1alpha1.AcmeAccount
			key := client.ObjectKey{Namespace: "ns", Name: v1alpha1.AccountName("ca", jwstest.Key(t, s.key).Thumbprint())}
			if s.cluster.Live.Get(t.Context(), key, &storedAccount) == nil { // nobody verifies it here
				if faults := accounts.Faults(t, "spec", &storedAccount.Spec); len(faults) > 0 {
					rt.Errorf("%v", faults)
				}
			}
		})
	})
}
