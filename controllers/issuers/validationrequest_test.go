package issuers

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"testing"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

func TestValidationRequest(t *testing.T) {
	account := &v1alpha1.AcmeAccount{}
	account.Name = "acct"
	authz := &v1alpha1.AcmeAuthorization{}
	authz.Spec.Identifier = v1alpha1.Identifier{Type: acme.DNS, Value: "a.test"}
	authz.Spec.Challenges = []v1alpha1.Challenge{{Type: acme.DNS01, Token: "another"}, {Type: acme.HTTP01, Token: "token"}}
	authz.Spec.Response = &v1alpha1.ChallengeResponse{Type: acme.HTTP01}
	account.Status.FormerThumbprints = []string{"former"}
	issuer := &Issuer{Bases: []acme.Base{"https://one.test", "https://two.test"}}
	protected, err := json.Marshal(map[string]string{"alg": "ES256", "kid": "https://two.test/acme/acct/acct", "url": "https://two.test/acme/chall/a", "nonce": "AAAA"})
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	authz.Spec.Response.Request = v1alpha1.SignedRequest{Protected: encode(protected), Payload: encode([]byte("{}")), Signature: encode(make([]byte, 64))}
	got := issuer.ValidationRequest(account, authz)
	if !slices.Equal(got.AccountURIs, []string{"https://two.test/acme/acct/acct", "https://one.test/acme/acct/acct"}) {
		t.Errorf("the URL that the client uses isn't the first: %v", got.AccountURIs)
	}
	if !slices.Equal(got.HashPrefixes, []string{"https://one.test/acme/account-hash/", "https://two.test/acme/account-hash/"}) || !slices.Equal(got.FormerThumbprints, []string{"former"}) {
		t.Errorf("got %+v", got)
	}
	authz.Spec.Response = nil
	if got := issuer.ValidationRequest(account, authz); got.Type != "" || got.Token != "" {
		t.Errorf("without a response: %+v", got)
	}
}
