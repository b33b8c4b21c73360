package acmeserver

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

func awaitingOrder(name, uid string) *v1alpha1.AcmeOrder {
	order := &v1alpha1.AcmeOrder{}
	order.Name, order.UID = name, types.UID(uid)
	order.CreationTimestamp = metav1.NewTime(issued)
	for i, value := range []string{"a.test", "*.a.test"} {
		order.Spec.Identifiers = append(order.Spec.Identifiers, v1alpha1.Identifier{Type: acme.DNS, Value: value})
		order.Spec.Authorizations = append(order.Spec.Authorizations, v1alpha1.OwnAuthorization(name, i))
	}
	return order
}

func TestAwaitedAuthorization(t *testing.T) {
	spec := &v1alpha1.AcmeIssuerSpec{}
	spec.Challenges.Types = []acme.ChallengeType{acme.HTTP01, acme.DNS01, acme.DNSPersist01}
	spec.Lifetimes.PendingAuthorization = metav1.Duration{Duration: time.Hour}
	r := &signed{call: &call{issuer: &issuer{spec: spec}, base: "https://ca.test"}}
	tokens := map[string]bool{}
	for _, order := range []*v1alpha1.AcmeOrder{awaitingOrder("one", "1"), awaitingOrder("one", "2"), awaitingOrder("two", "1")} {
		for i := range order.Spec.Identifiers {
			authz, again := r.awaitedAuthorization(order, i), r.awaitedAuthorization(order, i)
			if !awaited(authz) || authz.Spec.Wildcard != (i == 1) || authz.Spec.Identifier.Value != "a.test" {
				t.Errorf("%+v", authz.Spec)
			}
			for n, c := range authz.Spec.Challenges {
				if c != again.Spec.Challenges[n] {
					t.Errorf("%s has another token when it is looked at again", c.Type)
				}
				if c.Type == acme.DNSPersist01 {
					continue
				}
				if len(c.Token) != 43 || tokens[c.Token] {
					t.Errorf("token %q of %s was there before, or is short", c.Token, c.Type)
				}
				tokens[c.Token] = true
			}
		}
	}
	if len(tokens) != 3*(2+1) { // a wildcard isn't proved by http-01
		t.Errorf("%d tokens", len(tokens))
	}
}

// Nobody writes down that the time of one which isn't stored is over.
func TestAwaitedAuthorizationEnds(t *testing.T) {
	spec := &v1alpha1.AcmeIssuerSpec{}
	spec.Lifetimes.PendingAuthorization = metav1.Duration{Duration: time.Hour}
	now := issued
	s := &Server{now: func() time.Time { return now }}
	r := &signed{call: &call{issuer: &issuer{spec: spec}, base: "https://ca.test"}}
	for _, test := range []struct {
		after time.Duration
		want  acme.State
	}{{0, acme.StatePending}, {time.Hour - time.Second, acme.StatePending}, {time.Hour, acme.StateInvalid}} {
		now = issued.Add(test.after)
		document := s.authorizationAnswer(r, r.awaitedAuthorization(awaitingOrder("one", "1"), 0)).body.(authorizationDocument)
		if document.Status != test.want || document.Expires != "2030-03-01T13:00:00Z" {
			t.Errorf("after %s it is %s until %s", test.after, document.Status, document.Expires)
		}
	}
}

func TestAwaitedOrPending(t *testing.T) {
	own, other := awaitingOrder("one", "1"), awaitingOrder("two", "2")
	other.Spec.Authorizations[1] = "reused"
	stored := func(name string) *v1alpha1.AcmeAuthorization {
		authz := &v1alpha1.AcmeAuthorization{}
		authz.Name = name
		return authz
	}
	got := awaitedOrPending([]*v1alpha1.AcmeOrder{own, other}, []*v1alpha1.AcmeAuthorization{
		stored("one-0"),   // counted with its order
		stored("ended-0"), // of an order that is over
		stored("ahead"),   // a pre-authorization
	})
	if got != 2+1+1+1 {
		t.Errorf("%d", got)
	}
}
