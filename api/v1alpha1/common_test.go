package v1alpha1_test

import (
	"reflect"
	"testing"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

func TestAProblemComesBackAsItWas(t *testing.T) {
	name := acme.Identifier{Type: acme.DNS, Value: "a.test"}
	for _, problem := range []*acme.Problem{
		nil,
		{Type: acme.Malformed},
		{Type: acme.BadCSR, Detail: "wrong names", Status: 400, Identifier: &name},
		{Type: acme.Compound, Status: 403, Subproblems: []acme.Problem{
			{Type: acme.DNSProblem, Detail: "no such name", Identifier: &name},
			{Type: acme.CAA, Detail: "forbidden"},
		}},
	} {
		if got := v1alpha1.ProblemFrom(problem).ACME(); !reflect.DeepEqual(got, problem) {
			t.Errorf("got %+v, want %+v", got, problem)
		}
	}
}

// What a subproblem has beside type, detail and identifier isn't kept: RFC 8555 section 6.7.1 has no use for it.
func TestASubproblemIsFlat(t *testing.T) {
	problem := &acme.Problem{Type: acme.Compound, Subproblems: []acme.Problem{{Type: acme.CAA, Status: 403, Subproblems: []acme.Problem{{Type: acme.TLS}}}}}
	got := v1alpha1.ProblemFrom(problem).ACME().Subproblems[0]
	if want := (acme.Problem{Type: acme.CAA}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestAnIdentifierIsTheProtocolsOwn(t *testing.T) {
	if got := (v1alpha1.Identifier{Type: acme.IP, Value: "10.0.0.1"}).ACME(); got != (acme.Identifier{Type: acme.IP, Value: "10.0.0.1"}) {
		t.Errorf("got %+v", got)
	}
}
