package acmeserver

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/acmeca/acmeca/acmeserver/issuers"
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// draft-ietf-acme-dns-persist-02 section 3.1 and 3.2: the names are the same in challenge and directory, in their normal
// form; the challenge has no token, and all others have one.
func TestDNSPersist(t *testing.T) {
	spec := &v1alpha1.AcmeIssuerSpec{}
	spec.Validation.CAAIdentities = []string{"CA.Example.", "ca.test"}
	c := &call{issuer: &issuers.Issuer{Spec: spec}, base: "https://ca.test"}
	if c.issuer.DomainNames() != nil || c.accountHashPrefix() != "" {
		t.Error("something is offered for a challenge that isn't")
	}
	spec.Challenges.Types = []acme.ChallengeType{acme.HTTP01, acme.DNSAccount01, acme.DNSPersist01}
	if got := c.issuer.DomainNames(); !slices.Equal(got, []string{"ca.example", "ca.test"}) {
		t.Errorf("got %v", got)
	}
	if got := c.accountHashPrefix(); got != "https://ca.test/acme/account-hash/" {
		t.Errorf("got %s", got)
	}
	r := &request{call: c}
	offered := challenges(r.offered(acme.Identifier{Type: acme.DNS, Value: "a.test"}), newToken())
	if len(offered) != len(spec.Challenges.Types) {
		t.Errorf("%d challenges are offered", len(offered))
	}
	authz := &v1alpha1.AcmeAuthorization{Spec: v1alpha1.AcmeAuthorizationSpec{Challenges: offered}}
	for _, challenge := range offered {
		kind := challenge.Type
		text, err := json.Marshal(r.challengeDocument(authz, challenge))
		if err != nil {
			t.Fatal(err)
		}
		persist := kind == acme.DNSPersist01
		if strings.Contains(string(text), `"token"`) == persist || (len(authz.Token(kind)) == 22) == persist {
			t.Errorf("%s", text)
		}
		if strings.Contains(string(text), `"issuerDomainNames":["ca.example","ca.test"]`) != persist {
			t.Errorf("%s", text)
		}
	}
}
