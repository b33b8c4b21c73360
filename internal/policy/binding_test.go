package policy

import (
	"reflect"
	"strings"
	"testing"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

func TestParseBinding(t *testing.T) {
	many := strings.Repeat("a.example ", 65)
	for name, c := range map[string]struct {
		dns, ips, profiles string
		want               *v1alpha1.ExternalAccountPolicy
		fault              string
	}{
		"nothing":                {},
		"white space":            {dns: " \n\t,", ips: ",", profiles: "\r\n"},
		"each list":              {dns: "Team-A.example,\n.b.example", ips: "10.1.2.3/8 fd00::/8", profiles: "short", want: &v1alpha1.ExternalAccountPolicy{DNS: []string{"team-a.example", ".b.example"}, IPs: []string{"10.0.0.0/8", "fd00::/8"}, Profiles: []string{"short"}}},
		"a wildcard":             {dns: "*.example", fault: "allowed-dns"},
		"a URL":                  {dns: "https://example", fault: "allowed-dns"},
		"an address as a domain": {dns: "10.0.0.1", fault: "allowed-dns"},
		"a dot":                  {dns: ".", fault: "allowed-dns"},
		"an address, not range":  {ips: "10.0.0.1", fault: "allowed-ips"},
		"too many":               {dns: many, fault: "at most 64"},
		"a long profile":         {profiles: strings.Repeat("a", 64), fault: "allowed-profiles"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseBinding(c.dns, c.ips, c.profiles)
			if (err != nil) != (c.fault != "") || err != nil && !strings.Contains(err.Error(), c.fault) {
				t.Fatalf("error %v, want one about %q", err, c.fault)
			}
			if err == nil && c.want != nil && !reflect.DeepEqual(got, c.want) || err == nil && c.want == nil && got != nil {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestFor(t *testing.T) {
	p, err := New(spec(func(s *v1alpha1.AcmeIssuerSpec) {
		s.Policy.DNS.Deny = []string{"secret.team.example"}
		s.Policy.IP.Allow = []string{"10.0.0.0/8"}
		s.Profiles = append(s.Profiles, v1alpha1.Profile{Name: "short"}, v1alpha1.Profile{Name: "long"})
	}))
	if err != nil {
		t.Fatal(err)
	}
	if p.For(nil) != p {
		t.Error("an account without a binding has another policy than its issuer")
	}
	names := p.For(&v1alpha1.ExternalAccountPolicy{DNS: []string{"team.example"}})
	both := p.For(&v1alpha1.ExternalAccountPolicy{DNS: []string{".team.example"}, IPs: []string{"10.1.0.0/16", "192.0.2.0/24", "nonsense"}})
	profiles := p.For(&v1alpha1.ExternalAccountPolicy{Profiles: []string{"long", "short", "gone"}})
	for _, c := range []struct {
		name    string
		policy  *Policy
		id      acme.Identifier
		refusal string
	}{
		{"inside", names, acme.Identifier{Type: acme.DNS, Value: "a.team.example"}, ""},
		{"the domain", names, acme.Identifier{Type: acme.DNS, Value: "team.example"}, ""},
		{"a wildcard inside", names, acme.Identifier{Type: acme.DNS, Value: "*.a.team.example"}, ""},
		{"outside", names, acme.Identifier{Type: acme.DNS, Value: "other.example"}, "outside the limits of this account's external account key"},
		{"a name that ends alike", names, acme.Identifier{Type: acme.DNS, Value: "myteam.example"}, "outside the limits of this account's external account key"},
		{"an address where only names are listed", names, acme.Identifier{Type: acme.IP, Value: "10.1.2.3"}, "outside the limits of this account's external account key"},
		{"what the issuer denies", names, acme.Identifier{Type: acme.DNS, Value: "secret.team.example"}, "denied"},
		{"the domain where only what is below is listed", both, acme.Identifier{Type: acme.DNS, Value: "team.example"}, "outside the limits of this account's external account key"},
		{"an address inside", both, acme.Identifier{Type: acme.IP, Value: "10.1.2.3"}, ""},
		{"an address outside", both, acme.Identifier{Type: acme.IP, Value: "10.2.2.3"}, "outside the limits of this account's external account key"},
		{"an address that the issuer doesn't allow", both, acme.Identifier{Type: acme.IP, Value: "192.0.2.1"}, "outside the addresses"},
		{"anything where no identifiers are listed", profiles, acme.Identifier{Type: acme.DNS, Value: "other.example"}, ""},
		{"an unknown type", names, acme.Identifier{Type: "email", Value: "a@team.example"}, "outside"},
	} {
		t.Run(c.name, func(t *testing.T) {
			problem := c.policy.Identifiers([]acme.Identifier{c.id})
			if (problem != nil) != (c.refusal != "") || problem != nil && !strings.Contains(problem.Detail, c.refusal) {
				t.Errorf("%v, want %q", problem, c.refusal)
			}
		})
	}
	if q, problem := profiles.Profile(""); problem != nil || q.Name != "short" {
		t.Errorf("without a name: %q, %v", q.Name, problem)
	}
	if _, problem := profiles.Profile("default"); problem == nil || problem.Type != acme.InvalidProfile {
		t.Errorf("a profile that the account may not use: %v", problem)
	}
	if q, problem := p.Profile(""); problem != nil || q.Name != "default" {
		t.Errorf("narrowing changed the issuer's policy: %q, %v", q.Name, problem)
	}
	if _, problem := p.For(&v1alpha1.ExternalAccountPolicy{Profiles: []string{"gone"}}).Profile(""); problem == nil {
		t.Error("an account whose profiles are all gone has one")
	}
}
