package policy

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// A grant replaces the proof of control, and nothing else.
func TestGrantedIdentifiers(t *testing.T) {
	now := time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	granted := func(s *v1alpha1.AcmeIssuerSpec) {
		s.Profiles[0].MaxIdentifiers = 10
		s.Grants = []v1alpha1.Grant{{Name: "team", Accounts: []string{"acct"}, DNS: []string{".corp.test", ".svc.cluster.local", "*.corp.test"}, IPs: []string{"10.0.0.0/8"}}}
		s.Validation.ClusterDomain = "cluster.local"
		s.Challenges.Types = []acme.ChallengeType{acme.HTTP01}
	}
	refuse := func(s *v1alpha1.AcmeIssuerSpec) { s.Policy.Ungranted = v1alpha1.UngrantedRefuse }
	no, yes := false, true
	for name, c := range map[string]struct {
		change func(*v1alpha1.AcmeIssuerSpec)
		limits *v1alpha1.ExternalAccountPolicy
		id     acme.Identifier
		want   bool // whether it is granted and admitted
		words  string
	}{
		"a name":                                 {nil, nil, acme.Identifier{Type: acme.DNS, Value: "A.corp.test"}, yes, ""},
		"a Service":                              {nil, nil, acme.Identifier{Type: acme.DNS, Value: "db.ns.svc.cluster.local"}, yes, ""},
		"a Service that is not granted":          {nil, nil, acme.Identifier{Type: acme.DNS, Value: "db.ns.svc"}, no, "the cluster's Services"},
		"a wildcard that http-01 can't prove":    {nil, nil, acme.Identifier{Type: acme.DNS, Value: "*.corp.test"}, yes, ""},
		"a wildcard that is not granted":         {nil, nil, acme.Identifier{Type: acme.DNS, Value: "*.a.corp.test"}, no, "cannot be validated"},
		"no wildcards":                           {func(s *v1alpha1.AcmeIssuerSpec) { s.Policy.DNS.AllowWildcards = &no }, nil, acme.Identifier{Type: acme.DNS, Value: "*.corp.test"}, no, "is a wildcard"},
		"a denied name":                          {func(s *v1alpha1.AcmeIssuerSpec) { s.Policy.DNS.Deny = []string{"corp.test"} }, nil, acme.Identifier{Type: acme.DNS, Value: "a.corp.test"}, no, "is denied"},
		"outside the allowed names":              {func(s *v1alpha1.AcmeIssuerSpec) { s.Policy.DNS.Allow = []string{"other.test"} }, nil, acme.Identifier{Type: acme.DNS, Value: "a.corp.test"}, no, "is outside the names"},
		"an address that is not allowed":         {nil, nil, acme.Identifier{Type: acme.IP, Value: "10.1.2.3"}, no, "is outside the addresses"},
		"an address":                             {func(s *v1alpha1.AcmeIssuerSpec) { s.Policy.IP.Allow = []string{"10.1.0.0/16"} }, nil, acme.Identifier{Type: acme.IP, Value: "10.1.2.3"}, yes, ""},
		"outside the limits of the account":      {nil, &v1alpha1.ExternalAccountPolicy{DNS: []string{"b.corp.test"}}, acme.Identifier{Type: acme.DNS, Value: "a.corp.test"}, no, "external account key"},
		"ruled out":                              {func(s *v1alpha1.AcmeIssuerSpec) { s.Policy.Rules = []v1alpha1.PolicyRule{{Expression: "false"}} }, nil, acme.Identifier{Type: acme.DNS, Value: "a.corp.test"}, no, "policy"},
		"others are refused":                     {refuse, nil, acme.Identifier{Type: acme.DNS, Value: "a.corp.test"}, yes, ""},
		"not granted, and others are refused":    {refuse, nil, acme.Identifier{Type: acme.DNS, Value: "other.test"}, no, "certifies granted identifiers only"},
		"not granted, and others are challenged": {nil, nil, acme.Identifier{Type: acme.DNS, Value: "other.test"}, no, ""},
	} {
		t.Run(name, func(t *testing.T) {
			account := &v1alpha1.AcmeAccount{}
			account.Name, account.Status.ExternalAccountPolicy = "acct", c.limits
			p := must(New(spec(func(s *v1alpha1.AcmeIssuerSpec) {
				granted(s)
				if c.change != nil {
					c.change(s)
				}
			}))).ForAccount(account)
			request := &acme.OrderRequest{Identifiers: []acme.OrderIdentifier{{Identifier: c.id}}}
			admitted, problem := p.AdmitOrder(RequestedTerms(request, now))
			if problem != nil && (c.words == "" || !strings.Contains(problem.Detail, c.words)) || problem == nil && c.words != "" {
				t.Fatalf("%v, want %q", problem, c.words)
			}
			if problem == nil && slices.Equal(admitted.Granted, []string{"team"}) != c.want {
				t.Errorf("granted: %q", admitted.Granted)
			}
		})
	}
}

// The grants that a stored order names must hold now.
func TestStoredGrants(t *testing.T) {
	p := must(New(spec(func(s *v1alpha1.AcmeIssuerSpec) {
		s.Profiles[0].MaxIdentifiers = 10
		s.Grants = []v1alpha1.Grant{{Name: "team", Accounts: []string{"acct"}, DNS: []string{"a.test"}}}
	})))
	account := &v1alpha1.AcmeAccount{}
	account.Name = "acct"
	for name, c := range map[string]struct {
		grants []string
		words  string
	}{
		"its grant":     {[]string{"team"}, ""},
		"none":          {nil, ""},
		"another grant": {[]string{"none"}, `the grant "none" does not authorize "a.test"`},
	} {
		t.Run(name, func(t *testing.T) {
			order := &v1alpha1.AcmeOrder{Spec: v1alpha1.AcmeOrderSpec{
				Identifiers: []v1alpha1.Identifier{{Type: acme.DNS, Value: "a.test"}}, Grants: c.grants}}
			_, problem := p.ForAccount(account).AdmitOrder(StoredTerms(order, time.Unix(0, 0)))
			if c.words == "" && problem != nil || c.words != "" && (problem == nil || problem.Type != acme.Unauthorized || !strings.Contains(problem.Detail, c.words)) {
				t.Errorf("%v", problem)
			}
		})
	}
}

// The certificate of the ACME server itself needs no grant.
func TestUngrantedIdentifiersWithoutAccount(t *testing.T) {
	p := must(New(spec(func(s *v1alpha1.AcmeIssuerSpec) { s.Policy.Ungranted = v1alpha1.UngrantedRefuse })))
	id := acme.Identifier{Type: acme.DNS, Value: "acme.test"}
	if _, problem := p.AdmitIdentifier(id); problem != nil {
		t.Error(problem)
	}
	if _, problem := p.ForAccount(&v1alpha1.AcmeAccount{}).AdmitIdentifier(id); problem == nil {
		t.Error("an account may prove control of it")
	}
}
