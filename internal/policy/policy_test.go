package policy

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/pki"
)

func spec(edit ...func(*v1alpha1.AcmeIssuerSpec)) *v1alpha1.AcmeIssuerSpec {
	s := &v1alpha1.AcmeIssuerSpec{
		Profiles:   []v1alpha1.Profile{{Name: "default", Lifetime: metav1.Duration{Duration: 24 * time.Hour}}},
		Challenges: v1alpha1.Challenges{Types: []acme.ChallengeType{acme.HTTP01, acme.DNS01}},
	}
	for _, e := range edit {
		e(s)
	}
	return s
}

func TestIdentifiers(t *testing.T) {
	p, err := New(spec(func(s *v1alpha1.AcmeIssuerSpec) {
		s.Policy.DNS.Allow = []string{"corp.example", ".below.example", "host.test", "xn--bcher-kva.example", "xn--a.example"}
		s.Policy.DNS.Deny = []string{"secret.corp.example", "one.wild.corp.example", ".deep.corp.example"}
		s.Policy.IP.Allow = []string{"10.0.0.0/8", "fd00::/8"}
		s.Policy.IP.Deny = []string{"10.96.0.0/12"}
	}))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		kind    acme.IdentifierType
		value   string
		refusal string // "" for allowed
	}{
		{acme.DNS, "corp.example", ""},
		{acme.DNS, "a.b.corp.example", ""},
		{acme.DNS, "*.corp.example", "denied"}, // it would cover secret.corp.example
		{acme.DNS, "*.a.corp.example", ""},
		{acme.DNS, "notcorp.example", "outside"},
		{acme.DNS, "example", "outside"},
		{acme.DNS, "below.example", "outside"},
		{acme.DNS, "x.below.example", ""},
		{acme.DNS, "*.below.example", ""},
		{acme.DNS, "secret.corp.example", "denied"},
		{acme.DNS, "x.secret.corp.example", "denied"},
		{acme.DNS, "*.secret.corp.example", "denied"},
		{acme.DNS, "*.wild.corp.example", "denied"}, // it would cover a denied name
		{acme.DNS, "two.wild.corp.example", ""},
		{acme.DNS, "deep.corp.example", ""},
		{acme.DNS, "*.deep.corp.example", "denied"},
		{acme.DNS, "xn--bcher-kva.example", ""},
		{acme.DNS, "xn--a.example", "IDNA"},
		{acme.IP, "10.1.2.3", ""},
		{acme.IP, "10.96.0.1", "denied"},
		{acme.IP, "192.0.2.1", "outside"},
		{acme.IP, "fd00::1", ""},
		{"email", "a@corp.example", "unknown type"},
	} {
		problem := p.Identifiers([]acme.Identifier{{Type: c.kind, Value: c.value}})
		switch {
		case c.refusal == "" && problem != nil:
			t.Errorf("%s: refused: %v", c.value, problem)
		case c.refusal != "" && problem == nil:
			t.Errorf("%s: allowed, want a refusal", c.value)
		case c.refusal != "" && (problem.Type != acme.RejectedIdentifier || !strings.Contains(problem.Detail, c.refusal)):
			t.Errorf("%s: %v, want rejectedIdentifier with %q", c.value, problem, c.refusal)
		}
	}
}

func TestIdentifiersGivesASubproblemEach(t *testing.T) {
	p, err := New(spec(func(s *v1alpha1.AcmeIssuerSpec) { s.Policy.DNS.Allow = []string{"ok.test"} }))
	if err != nil {
		t.Fatal(err)
	}
	problem := p.Identifiers([]acme.Identifier{{Type: acme.DNS, Value: "a.bad"}, {Type: acme.DNS, Value: "ok.test"}, {Type: acme.DNS, Value: "b.bad"}})
	if problem == nil || len(problem.Subproblems) != 2 || problem.Subproblems[0].Identifier.Value != "a.bad" || problem.Subproblems[1].Identifier.Value != "b.bad" {
		t.Errorf("got %+v", problem)
	}
}

func TestWildcardNeedsAChallengeThatFits(t *testing.T) {
	p, err := New(spec(func(s *v1alpha1.AcmeIssuerSpec) { s.Challenges.Types = []acme.ChallengeType{acme.HTTP01} }))
	if err != nil {
		t.Fatal(err)
	}
	if problem := p.Identifiers([]acme.Identifier{{Type: acme.DNS, Value: "*.a.test"}}); problem == nil || problem.Type != acme.RejectedIdentifier {
		t.Errorf("a wildcard with http-01 alone: %v", problem)
	}
}

func TestWildcardsCanBeTurnedOff(t *testing.T) {
	off := false
	p, err := New(spec(func(s *v1alpha1.AcmeIssuerSpec) { s.Policy.DNS.AllowWildcards = &off }))
	if err != nil {
		t.Fatal(err)
	}
	if problem := p.Identifiers([]acme.Identifier{{Type: acme.DNS, Value: "*.a.test"}}); problem == nil {
		t.Error("a wildcard was allowed")
	}
}

func TestNewNamesTheFieldAtFault(t *testing.T) {
	for field, edit := range map[string]func(*v1alpha1.AcmeIssuerSpec){
		"spec.profiles":        func(s *v1alpha1.AcmeIssuerSpec) { s.Profiles = nil },
		"spec.defaultProfile":  func(s *v1alpha1.AcmeIssuerSpec) { s.DefaultProfile = "absent" },
		"spec.policy.ip.allow": func(s *v1alpha1.AcmeIssuerSpec) { s.Policy.IP.Allow = []string{"10.0.0.0"} },
		"spec.policy.ip.deny":  func(s *v1alpha1.AcmeIssuerSpec) { s.Policy.IP.Deny = []string{"x/8"} },
	} {
		if _, err := New(spec(edit)); err == nil || !strings.HasPrefix(err.Error(), field+":") {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestValidity(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	day := 24 * time.Hour
	profile := v1alpha1.Profile{Name: "p", Lifetime: metav1.Duration{Duration: day}, MaxLifetime: &metav1.Duration{Duration: 2 * day}}
	at := func(d time.Duration) time.Time { return now.Add(d) }
	none := time.Time{}
	for name, c := range map[string]struct {
		notBefore, notAfter time.Time
		ok                  bool
	}{
		"nothing asked":           {none, none, true},
		"the longest":             {none, at(2 * day), true},
		"too long":                {none, at(2*day + 2*time.Minute), false},
		"already over":            {none, at(-time.Second), false},
		"starts later":            {at(day), at(2 * day), true},
		"starts later, too long":  {at(day), at(3 * day), false},
		"starts in the past":      {at(-2 * time.Hour), none, false},
		"starts too far away":     {at(3 * day), none, false},
		"ends before it starts":   {at(day), at(day - time.Second), false},
		"clock a little too slow": {at(-time.Minute), at(day), true},
	} {
		asked := pki.OrderTimes{Ordered: now, Finalized: now, NotBefore: c.notBefore, NotAfter: c.notAfter}
		if _, _, problem := ValidityBounds(profile).Period(asked); (problem == nil) != c.ok {
			t.Errorf("%s: %v", name, problem)
		}
	}
}
