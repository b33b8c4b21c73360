package verify

import (
	"testing"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/issuers"
)

func TestCoverFault(t *testing.T) {
	allows, forbids := &issuers.Issuer{}, &issuers.Issuer{}
	allows.Spec.Challenges.Subdomains = true
	for name, c := range map[string]struct {
		issuer     *issuers.Issuer
		domain     string
		wildcard   bool
		subdomains bool
		proved     acme.ChallengeType // "" for pending
		identifier string
		covered    bool
	}{
		"the name itself":                        {forbids, "b.test", false, false, acme.HTTP01, "b.test", true},
		"the name itself, for those below too":   {forbids, "b.test", false, true, acme.DNS01, "b.test", true},
		"a wildcard itself":                      {forbids, "b.test", true, false, acme.DNS01, "*.b.test", true},
		"a name below a wildcard":                {allows, "b.test", true, false, acme.DNS01, "a.b.test", false},
		"a name below":                           {allows, "b.test", false, true, acme.DNS01, "a.b.test", true},
		"a name far below":                       {allows, "b.test", false, true, acme.DNSAccount01, "x.y.a.b.test", true},
		"a wildcard below":                       {allows, "b.test", false, true, acme.DNS01, "*.b.test", true},
		"a name below, pending":                  {allows, "b.test", false, true, "", "a.b.test", true},
		"a name below, not counted":              {allows, "b.test", false, false, acme.DNS01, "a.b.test", false},
		"a name below, of another issuer's rule": {forbids, "b.test", false, true, acme.DNS01, "a.b.test", false},
		"a name below, proved by HTTP":           {allows, "b.test", false, true, acme.HTTP01, "a.b.test", false},
		"a name below, proved by a record":       {allows, "b.test", false, true, acme.DNSPersist01, "a.b.test", false},
		"a name that ends alike":                 {allows, "b.test", false, true, acme.DNS01, "ab.test", false},
		"the domain above":                       {allows, "a.b.test", false, true, acme.DNS01, "b.test", false},
	} {
		t.Run(name, func(t *testing.T) {
			authz := &v1alpha1.AcmeAuthorization{}
			authz.Spec.Identifier = v1alpha1.Identifier{Type: acme.DNS, Value: c.domain}
			authz.Spec.Wildcard, authz.Spec.Subdomains = c.wildcard, c.subdomains
			authz.Status.State = acme.StatePending
			if c.proved != "" {
				authz.Status.State = acme.StateValid
				authz.Status.Challenge = &v1alpha1.ChallengeStatus{Type: c.proved, State: acme.StateValid}
			}
			problem := Coverage(c.issuer, authz, acme.Identifier{Type: acme.DNS, Value: c.identifier})
			if (problem == nil) != c.covered {
				t.Errorf("%v", problem)
			}
		})
	}
	authz := &v1alpha1.AcmeAuthorization{}
	authz.Spec.Identifier = v1alpha1.Identifier{Type: acme.IP, Value: "192.0.2.1"}
	authz.Spec.Subdomains = true
	if Coverage(allows, authz, acme.Identifier{Type: acme.DNS, Value: "a.192.0.2.1"}) == nil {
		t.Error("names are below an address")
	}
}
