package stored_test

import (
	"testing"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/jws"
	"github.com/acmeca/acmeca/internal/jws/jwstest"
	"github.com/acmeca/acmeca/internal/jws/stored"
)

func TestParseReturnsTheRequestThatWasSent(t *testing.T) {
	key := jwstest.NewKey(t, "ES256")
	sent, problem := jws.Parse(jwstest.Sign(t, key, jwstest.Header{"kid": "https://ca.test/acme/acct/1", "url": "https://ca.test/acme/new-order", "nonce": "bm9uY2U"}, struct{}{}))
	if problem != nil {
		t.Fatal(problem)
	}
	read, problem := stored.Parse(stored.Request(sent))
	if problem != nil {
		t.Fatal(problem)
	}
	if problem := read.Verify(jwstest.Key(t, key)); problem != nil {
		t.Error(problem)
	}
	if read.Header.URL != sent.Header.URL || string(read.Body) != string(sent.Body) {
		t.Errorf("got %+v", read)
	}
	if _, problem := stored.Parse(&v1alpha1.SignedRequest{Protected: "e30", Signature: "c2ln"}); problem == nil {
		t.Error("a request without a header is accepted")
	}
}
