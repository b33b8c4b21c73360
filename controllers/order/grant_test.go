package order

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/attempts"
	"github.com/acmeca/acmeca/internal/policy"
)

// grant gives the account of a situation a.test and b.test by the grant "team", which the order names. No authorization is stored.
func (s *situation) grant(change func(*v1alpha1.AcmeIssuerSpec, *v1alpha1.Grant)) {
	s.t.Helper()
	grant := v1alpha1.Grant{Name: "team", ExternalAccountKeys: []string{"key"}, DNS: []string{"a.test", "b.test"}}
	spec := &s.facts.issuer.Spec
	change(spec, &grant)
	spec.Grants = []v1alpha1.Grant{grant}
	var err error
	s.facts.issuer.Policy, err = policy.New(spec)
	must(s.t, err)
	if s.facts.account != nil {
		s.facts.account.Status.ExternalAccountKeyID = "key"
	}
	s.order.Spec.Grants, s.facts.authorizations = []string{"team", "team"}, make([]*v1alpha1.AcmeAuthorization, 2)
}

func TestDecideGranted(t *testing.T) {
	as := func(*v1alpha1.AcmeIssuerSpec, *v1alpha1.Grant) {}
	refused := func(detail string) expectation {
		return expectation{problem: acme.Unauthorized, detail: detail, recheck: true}
	}
	deactivated := func(s *situation) *v1alpha1.AcmeAuthorization {
		authz := s.order.AwaitedAuthorization(0)
		authz.Status.State = acme.StateDeactivated
		return authz
	}
	for name, c := range map[string]struct {
		change func(*situation)
		want   expectation
	}{
		"granted":                    {func(s *situation) { s.grant(as) }, expectation{issues: true, wait: week}},
		"granted, ready at creation": {func(s *situation) { s.grant(as); s.unfinalize(); s.facts.now = ordered }, expectation{wait: 2 * time.Second}},
		"granted, ready for a while": {func(s *situation) { s.grant(as); s.unfinalize() }, expectation{state: acme.StateReady, wait: week}},
		"the issuer's types can't do": {func(s *situation) {
			s.grant(func(i *v1alpha1.AcmeIssuerSpec, _ *v1alpha1.Grant) { i.Challenges.Types = nil })
		}, expectation{issues: true, wait: week}},
		"CAA is due for every name": {func(s *situation) { s.grant(as); s.enforceCAA() }, expectation{checks: 2, wait: week}},
		"CAA permits": {func(s *situation) {
			s.grant(as)
			s.enforceCAA()
			s.facts.caa = attempts.CAAVerdict{Permitted: true, Final: true}
		}, expectation{issues: true, wait: week}},
		"a compromised key":           {func(s *situation) { s.grant(as); s.facts.keyProblem = acme.NewProblem(acme.BadCSR, "compromised") }, expectation{problem: acme.BadCSR, recheck: true}},
		"signed with another key":     {func(s *situation) { s.grant(as); s.finalize(s.other, policy.StoredCSR(s.order)) }, expectation{problem: acme.Malformed, recheck: true, refuses: "Finalization"}},
		"a CSR for one name too many": {func(s *situation) { s.grant(as); s.finalize(s.key, s.csr(s.leaf, "a.test", "b.test", "c.test")) }, expectation{problem: acme.BadCSR, recheck: true}},
		"the account is deactivated":  {func(s *situation) { s.grant(as); s.facts.account.Status.State = acme.StateDeactivated }, expectation{problem: acme.Unauthorized, recheck: true}},
		"a denied name": {func(s *situation) {
			s.grant(func(i *v1alpha1.AcmeIssuerSpec, _ *v1alpha1.Grant) { i.Policy.DNS.Deny = []string{"b.test"} })
		}, expectation{problem: acme.RejectedIdentifier, detail: "b.test", recheck: true}},
		"a name that a rule refuses": {func(s *situation) {
			s.grant(func(i *v1alpha1.AcmeIssuerSpec, _ *v1alpha1.Grant) {
				i.Policy.Rules = []v1alpha1.PolicyRule{{Expression: "false"}}
			})
		}, expectation{problem: acme.RejectedIdentifier, recheck: true}},
		"one name is granted": {func(s *situation) {
			authz := s.facts.authorizations[1]
			s.grant(as)
			s.order.Spec.Grants[1], s.facts.authorizations[1] = "", authz
		}, expectation{issues: true, wait: week}},
		"one name waits for its proof": {func(s *situation) { s.grant(as); s.unfinalize(); s.order.Spec.Grants[1] = "" }, expectation{wait: week}},
		"a stored pending one":         {func(s *situation) { s.grant(as); s.facts.authorizations[0] = s.order.AwaitedAuthorization(0) }, expectation{issues: true, wait: week}},
		"the client deactivated one":   {func(s *situation) { s.grant(as); s.facts.authorizations[0] = deactivated(s) }, refused("the authorization is deactivated")},

		// A captured ACME server could write this.
		"a grant that does not exist":  {func(s *situation) { s.grant(as); s.order.Spec.Grants = []string{"team", "none"} }, refused("the issuer has no such grant")},
		"a grant of another account":   {func(s *situation) { s.grant(as); s.facts.account.Status.ExternalAccountKeyID = "other" }, expectation{problem: acme.Compound, detail: "2 of 2", recheck: true}},
		"a grant of other names":       {func(s *situation) { s.grant(func(_ *v1alpha1.AcmeIssuerSpec, g *v1alpha1.Grant) { g.DNS = g.DNS[:1] }) }, refused("does not include the identifier")},
		"no grants, no authorizations": {func(s *situation) { s.grant(as); s.order.Spec.Grants = nil; s.facts.now = now.Add(time.Minute) }, expectation{problem: acme.Compound, detail: "2 of 2"}},
		"an authorization of its own":  {func(s *situation) { s.grant(as); s.order.Spec.Grants = []string{"none", "none"} }, expectation{problem: acme.Compound, detail: "2 of 2", recheck: true}},
		"the account isn't there yet":  {func(s *situation) { s.grant(as); s.facts.account, s.facts.now = nil, ordered.Add(time.Second) }, expectation{wait: time.Second}},
		"the account is gone":          {func(s *situation) { s.grant(as); s.facts.account = nil }, expectation{problem: acme.Compound, detail: "2 of 2", recheck: true}},
		"granted for another profile":  {func(s *situation) { s.grant(as); s.facts.issuer.Spec.DefaultProfile, s.order.Spec.Profile = "x", "x" }, expectation{problem: acme.Compound, recheck: true}},
		"ungranted, which is refused": {func(s *situation) {
			authz := s.facts.authorizations[1]
			s.grant(func(i *v1alpha1.AcmeIssuerSpec, _ *v1alpha1.Grant) { i.Policy.Ungranted = v1alpha1.UngrantedRefuse })
			s.order.Spec.Grants[1], s.facts.authorizations[1] = "", authz
		}, expectation{problem: acme.RejectedIdentifier, detail: "certifies granted identifiers only", recheck: true}},
		"granted, and others are refused": {func(s *situation) {
			s.grant(func(i *v1alpha1.AcmeIssuerSpec, _ *v1alpha1.Grant) { i.Policy.Ungranted = v1alpha1.UngrantedRefuse })
		}, expectation{issues: true, wait: week}},

		"a grant that isn't loaded yet": {func(s *situation) { s.grant(as); s.order.Spec.Grants[1], s.facts.issuerOutdated = "new", true }, expectation{wait: time.Second}},

		// The end of a grant.
		"the grant ended": {func(s *situation) {
			s.grant(func(_ *v1alpha1.AcmeIssuerSpec, g *v1alpha1.Grant) { g.Expires = &metav1.Time{Time: now} })
		}, expectation{problem: acme.Compound, recheck: true}},
		"the grant ends later": {func(s *situation) {
			s.grant(func(_ *v1alpha1.AcmeIssuerSpec, g *v1alpha1.Grant) {
				g.Expires = &metav1.Time{Time: now.Add(time.Minute)}
			})
		}, expectation{issues: true, wait: time.Minute}},
		"the grant ends later, and the client is slow": {func(s *situation) {
			s.grant(func(_ *v1alpha1.AcmeIssuerSpec, g *v1alpha1.Grant) {
				g.Expires = &metav1.Time{Time: now.Add(time.Minute)}
			})
			s.unfinalize()
		}, expectation{state: acme.StateReady, wait: time.Minute}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSituation(t)
			c.change(s)
			s.expect(c.want)
		})
	}
}
