package v1alpha1_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
	"pgregory.net/rapid"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

func TestNamesFitObjects(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		issuer, thumbprint := rapid.String().Draw(t, "issuer"), rapid.String().Draw(t, "thumbprint")
		name := v1alpha1.AccountName(issuer, thumbprint)
		if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
			t.Errorf("%q: %v", name, problems)
		}
		if len(name) != 24 {
			t.Errorf("%q doesn't hold 120 bits", name)
		}
	})
}

// A name is what decides between two that register one key at once, so it must not depend on anything else, and not be met
// by another key or issuer.
func TestAccountNamesTellKeysAndIssuersApart(t *testing.T) {
	if a, b := v1alpha1.AccountName("ca", "key"), v1alpha1.AccountName("ca", "key"); a != b {
		t.Errorf("one key has the names %q and %q", a, b)
	}
	seen := map[string]string{}
	for _, issuer := range []string{"", "c", "ca", "ca-2"} {
		for _, thumbprint := range []string{"", "a", "akey", "key", "key-2"} {
			name := v1alpha1.AccountName(issuer, thumbprint)
			if other, ok := seen[name]; ok {
				t.Errorf("%s/%s and %s have one name", issuer, thumbprint, other)
			}
			seen[name] = issuer + "/" + thumbprint
		}
	}
}

func TestEncodeName(t *testing.T) {
	for text, want := range map[string]string{"": "", "a": "c4", "acmeca": "c5hmqpb3c4"} {
		if got := v1alpha1.EncodeName([]byte(text)); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestDigestsTellRequestsApart(t *testing.T) {
	request := v1alpha1.SignedRequest{Protected: "a", Payload: "b", Signature: "c"}
	changes := map[string]v1alpha1.SignedRequest{
		"the header":            {Protected: "A", Payload: "b", Signature: "c"},
		"the payload":           {Protected: "a", Payload: "B", Signature: "c"},
		"the signature":         {Protected: "a", Payload: "b", Signature: "C"},
		"where the header ends": {Protected: "", Payload: "ab", Signature: "c"},
	}
	for what, changed := range changes {
		if changed.Digest() == request.Digest() {
			t.Errorf("another %s gives the same digest", strings.TrimPrefix(what, "the "))
		}
	}
	same := request
	if same.Digest() != request.Digest() || len(request.Digest()) != 64 {
		t.Errorf("got %q", request.Digest())
	}
	if got := (*v1alpha1.SignedRequest)(nil).Digest(); got != "unsigned" {
		t.Errorf("a person's request: got %q", got)
	}
	if got := (&v1alpha1.Revocation{Reason: 1}).Digest(); got != "unsigned" {
		t.Errorf("a person's revocation: got %q", got)
	}
	if got := (&v1alpha1.Revocation{Request: &request}).Digest(); got != request.Digest() {
		t.Errorf("a client's revocation: got %q", got)
	}
}
