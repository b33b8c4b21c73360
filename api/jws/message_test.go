package jws_test

import (
	"testing"

	"github.com/acmeca/acmeca/api/jws"
	"github.com/acmeca/acmeca/api/jws/jwstest"
)

const (
	accountURL = "https://ca.test/acme/acct/1"
	orderURL   = "https://ca.test/acme/new-order"
	nonce      = "bm9uY2U"
)

func TestAnAccountsRequestVerifies(t *testing.T) {
	for _, algorithm := range jws.Algorithms() {
		t.Run(algorithm, func(t *testing.T) {
			key := jwstest.NewKey(t, algorithm)
			body := jwstest.Sign(t, key, jwstest.Header{"kid": accountURL, "url": orderURL, "nonce": nonce}, map[string]string{"a": "b"})
			m, problem := jws.Parse(body)
			if problem != nil {
				t.Fatal(problem)
			}
			if problem := m.Verify(jwstest.Key(t, key)); problem != nil {
				t.Fatal(problem)
			}
			if m.Header.KeyID != accountURL || m.Header.URL != orderURL || m.Header.Nonce != nonce || m.Header.Algorithm != algorithm || m.Header.Key != nil {
				t.Errorf("header is %+v", m.Header)
			}
			if string(m.Body) != `{"a":"b"}` || m.IsPOSTAsGET() {
				t.Errorf("body is %q", m.Body)
			}
			stored, problem := jws.FromParts(m.Protected, m.Payload, m.Signature)
			if problem != nil {
				t.Fatal(problem)
			}
			if problem := stored.Verify(jwstest.Key(t, key)); problem != nil {
				t.Fatal(problem)
			}
			if problem := stored.Verify(jwstest.Key(t, jwstest.NewKey(t, algorithm))); problem == nil {
				t.Error("another key verifies it")
			}
		})
	}
}
