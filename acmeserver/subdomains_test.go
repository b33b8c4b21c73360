package acmeserver

import (
	"slices"
	"testing"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

func TestAuthorizedBy(t *testing.T) {
	r := &signed{call: &call{issuer: &issuer{spec: &v1alpha1.AcmeIssuerSpec{}}}}
	values := func(id acme.Identifier) (values []string) {
		for _, of := range r.authorizedBy(id) {
			values = append(values, of.Value)
		}
		return values
	}
	name, wildcard := acme.Identifier{Type: acme.DNS, Value: "a.b.test"}, acme.Identifier{Type: acme.DNS, Value: "*.b.test"}
	if got := values(name); !slices.Equal(got, []string{"a.b.test"}) {
		t.Errorf("where the issuer has none: %v", got)
	}
	r.issuer.spec.Challenges.Subdomains = true
	if got := values(name); !slices.Equal(got, []string{"a.b.test", "b.test", "test"}) {
		t.Errorf("a name: %v", got)
	}
	if got := values(wildcard); !slices.Equal(got, []string{"*.b.test", "b.test", "test"}) {
		t.Errorf("a wildcard: %v", got)
	}
	if got := values(acme.Identifier{Type: acme.IP, Value: "192.0.2.1"}); !slices.Equal(got, []string{"192.0.2.1"}) {
		t.Errorf("an address: %v", got)
	}
}

func TestAncestors(t *testing.T) {
	asked := func(kind acme.IdentifierType, value, above string) []acme.OrderIdentifier {
		return []acme.OrderIdentifier{{Identifier: acme.Identifier{Type: kind, Value: value}, AncestorDomain: above}}
	}
	for _, c := range []struct {
		kind         acme.IdentifierType
		value, above string
		want         string // "" for a problem
	}{
		{acme.DNS, "A.B.test", "b.TEST", "b.test"},
		{acme.DNS, "*.b.test", "b.test", "b.test"},
		{acme.DNS, "a.b.test", "test", "test"},
		{acme.DNS, "b.test", "b.test", ""},
		{acme.DNS, "ab.test", "b.test", ""},
		{acme.DNS, "b.test", "a.b.test", ""},
		{acme.DNS, "a.b.test", "*.test", ""},
		{acme.DNS, "a.b.test", "", "none"},
		{acme.DNS, "a_b.test", "test", ""},
		{acme.IP, "192.0.2.1", "2.1", ""},
	} {
		found, problem := ancestors(asked(c.kind, c.value, c.above))
		switch {
		case c.want == "" && problem == nil:
			t.Errorf("%s below %s: %v", c.value, c.above, found)
		case c.want == "none" && (problem != nil || len(found) > 0):
			t.Errorf("%s without an ancestor: %v, %v", c.value, found, problem)
		case c.want != "" && c.want != "none":
			id, _ := acme.Identifier{Type: c.kind, Value: c.value}.Normalize()
			if problem != nil || found[id].Value != c.want {
				t.Errorf("%s below %s: %v, %v", c.value, c.above, found, problem)
			}
		}
	}
}
