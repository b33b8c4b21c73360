package acmeserver

import (
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/acmeca/acmeca/acmeserver/issuers"
	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

var issued = time.Date(2030, 3, 1, 12, 0, 0, 0, time.UTC)

func orderWithNames(name, uid string) *v1alpha1.AcmeOrder {
	order := &v1alpha1.AcmeOrder{}
	order.Name, order.UID = name, types.UID(uid)
	order.CreationTimestamp = metav1.NewTime(issued)
	for i, value := range []string{"a.test", "*.a.test"} {
		order.Spec.Identifiers = append(order.Spec.Identifiers, v1alpha1.Identifier{Type: acme.DNS, Value: value})
		order.Spec.Authorizations = append(order.Spec.Authorizations, v1alpha1.OwnAuthorization(name, i))
	}
	return order
}

func TestVirtualAuthorization(t *testing.T) {
	spec := &v1alpha1.AcmeIssuerSpec{}
	spec.Challenges.Types = []acme.ChallengeType{acme.HTTP01, acme.DNS01, acme.DNSPersist01}
	spec.Lifetimes.PendingAuthorization = metav1.Duration{Duration: time.Hour}
	r := &request{call: &call{issuer: &issuers.Issuer{Spec: spec}, base: "https://ca.test"}}
	tokens := map[string]bool{}
	for _, order := range []*v1alpha1.AcmeOrder{orderWithNames("one", "1"), orderWithNames("one", "2"), orderWithNames("two", "1")} {
		for i := range order.Spec.Identifiers {
			authz, again := r.virtualAuthorization(order, i), r.virtualAuthorization(order, i)
			if !isVirtual(authz) || authz.Spec.Wildcard != (i == 1) || authz.Spec.Identifier.Value != "a.test" {
				t.Errorf("%+v", authz.Spec)
			}
			for n, c := range authz.Spec.Challenges {
				if c != again.Spec.Challenges[n] {
					t.Errorf("%s has another token when it is derived again", c.Type)
				}
				if c.Type == acme.DNSPersist01 {
					continue
				}
				token := authz.Token(c.Type)
				if len(token) != 22 || tokens[token] {
					t.Errorf("token %q of %s is not unique, or too short", token, c.Type)
				}
				tokens[token] = true
			}
		}
	}
	if len(tokens) != 3*(2+1) { // a wildcard isn't proved by http-01
		t.Errorf("%d tokens", len(tokens))
	}
}

// No controller marks an authorization that is not stored as expired.
func TestVirtualAuthorizationExpires(t *testing.T) {
	spec := &v1alpha1.AcmeIssuerSpec{}
	spec.Lifetimes.PendingAuthorization = metav1.Duration{Duration: time.Hour}
	now := issued
	s := &Server{now: func() time.Time { return now }}
	r := &request{call: &call{issuer: &issuers.Issuer{Spec: spec}, base: "https://ca.test"}}
	for _, test := range []struct {
		after time.Duration
		want  acme.State
	}{{0, acme.StatePending}, {time.Hour - time.Second, acme.StatePending}, {time.Hour, acme.StateInvalid}} {
		now = issued.Add(test.after)
		document := s.authorizationAnswer(r, r.virtualAuthorization(orderWithNames("one", "1"), 0)).Body.(authorizationDocument)
		if document.Status != test.want || document.Expires != "2030-03-01T13:00:00Z" {
			t.Errorf("after %s it is %s until %s", test.after, document.Status, document.Expires)
		}
	}
}

// Otherwise a client could choose a challenge again, although the certificate is issued.
func TestTheRemovedAuthorizationOfAValidOrderIsExpired(t *testing.T) {
	r := &request{call: &call{issuer: &issuers.Issuer{Spec: &v1alpha1.AcmeIssuerSpec{}}, base: "https://ca.test"}}
	order := orderWithNames("one", "1")
	order.Spec.Grants = []string{"", "grant"}
	order.Status.State = acme.StateValid
	authz := r.virtualAuthorization(order, 0)
	document := (&Server{now: func() time.Time { return issued }}).authorizationAnswer(r, authz).Body.(authorizationDocument)
	if authz.Pending() || document.Status != acme.StateExpired || document.Expires == "" {
		t.Errorf("the authorization is %+v", document)
	}
	if granted := r.virtualAuthorization(order, 1); granted.Status.State == acme.StateExpired {
		t.Error("a granted authorization is expired")
	}
	order.Status.State = acme.StateInvalid
	if authz := r.virtualAuthorization(order, 0); !authz.Pending() {
		t.Errorf("the authorization of a failed order is %s", authz.Status.State)
	}
}

func TestCoveringIdentifiers(t *testing.T) {
	r := &request{call: &call{issuer: &issuers.Issuer{Spec: &v1alpha1.AcmeIssuerSpec{}}}}
	values := func(id acme.Identifier) (values []string) {
		for _, covering := range r.coveringIdentifiers(id) {
			values = append(values, covering.Value)
		}
		return values
	}
	name, wildcard := acme.Identifier{Type: acme.DNS, Value: "a.b.test"}, acme.Identifier{Type: acme.DNS, Value: "*.b.test"}
	if got := values(name); !slices.Equal(got, []string{"a.b.test"}) {
		t.Errorf("where the issuer has none: %v", got)
	}
	r.issuer.Spec.Challenges.Subdomains = true
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
