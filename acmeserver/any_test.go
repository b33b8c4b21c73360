package acmeserver

import (
	"encoding/base64"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
	"github.com/acmeca/acmeca/internal/test/schema"
)

// Whatever the API server stores, a request about it causes no panic, and no other internal error.
func TestAnyStoredObjectIsServed(t *testing.T) {
	kinds := map[string]*schema.Kind{
		"issuer": schema.Of(t, &v1alpha1.AcmeIssuer{}), "account": schema.Of(t, &v1alpha1.AcmeAccount{}),
		"order": schema.Of(t, &v1alpha1.AcmeOrder{}), "authorization": schema.Of(t, &v1alpha1.AcmeAuthorization{}),
	}
	rapid.Check(t, func(rt *rapid.T) {
		issuer, account := &v1alpha1.AcmeIssuer{}, &v1alpha1.AcmeAccount{}
		order, authz := &v1alpha1.AcmeOrder{}, &v1alpha1.AcmeAuthorization{}
		stored := map[client.Object]bool{}
		objects := map[string]client.Object{"issuer": issuer, "account": account, "order": order, "authorization": authz}
		for _, name := range slices.Sorted(maps.Keys(objects)) { // rapid repeats draws in their order
			object := objects[name]
			value := reflect.ValueOf(object).Elem()
			kinds[name].Draw(rt, t, "spec", value.FieldByName("Spec").Addr().Interface())
			kinds[name].Draw(rt, t, "status", value.FieldByName("Status").Addr().Interface())
			stored[object] = rapid.Bool().Draw(rt, name)
			object.SetNamespace("ns")
			object.SetResourceVersion("7")
		}
		issuer.Name, account.Name, order.Name, authz.Name = "ca", "me", "order", "order-0"
		order.UID, authz.UID = "order", "authorization"
		issuer.Status.BaseURLs = []string{strings.TrimSuffix(issuerURL, "/")}
		issuer.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: "True", Reason: "Ready"}}
		account.Spec.IssuerRef.Name, account.Status.State = "ca", acme.StateValid
		order.Spec.IssuerRef.Name, order.Spec.AccountRef.Name = "ca", "me"
		authz.Spec.IssuerRef.Name, authz.Spec.AccountRef.Name = "ca", "me"
		synctest.Test(t, func(t *testing.T) { // whose clock makes no request wait
			s := newServed(t)
			account.Status.JWK = string(jwstest.Key(t, s.key).JSON())
			for object, store := range stored {
				if object.SetCreationTimestamp(metav1.Now()); store {
					s.cluster.Deliver(object)
				}
			}
			s.askAbout(t, rt)
		})
	})
}

// askAbout sends each kind of request.
func (s *served) askAbout(t *testing.T, rt *rapid.T) {
	check := func(path string, w *httptest.ResponseRecorder) {
		if w.Code == http.StatusInternalServerError {
			rt.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	for _, path := range []string{"", "acme/directory", "acme/new-nonce", "acme/renewal-info/AAAA.AQ", "ca.crt", "ca.der", "crl/a.crl"} {
		check(path, s.get(t, path))
	}
	csr := base64.RawURLEncoding.EncodeToString([]byte("no CSR"))
	identifiers := []map[string]string{{"type": "dns", "value": "a.test"}}
	for _, ask := range []struct {
		path    string
		payload any
	}{
		{acme.AccountPath("me"), nil},
		{acme.OrdersPath("me"), nil},
		{acme.OrderPath("order"), nil},
		{acme.AuthorizationPath("order-0"), nil},
		{acme.AuthorizationPath("order-1"), nil},
		{acme.AuthorizationPath("order-2"), map[string]any{"status": "deactivated"}},
		{acme.ChallengePath("order-0", acme.HTTP01), map[string]any{}},
		{acme.ChallengePath("order-1", acme.DNS01), nil},
		{acme.CertificatePath("order"), nil},
		{acme.FinalizePath("order"), map[string]any{"csr": csr}},
		{acme.NewOrderPath, map[string]any{"identifiers": identifiers, "replaces": "AAAA.AQ", "profile": "default"}},
		{acme.NewAuthzPath, map[string]any{"identifier": identifiers[0]}},
		{acme.RevokeCertPath, map[string]any{"certificate": csr}},
		{acme.AccountPath("me"), map[string]any{"contact": []string{"mailto:a@a.test"}}},
		{acme.KeyChangePath, map[string]any{}},
	} {
		check(ask.path, s.post(t, ask.path, ask.payload))
	}
}
