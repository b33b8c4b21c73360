package policy

import (
	"testing"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// The names of Services are certified only where the policy names them.
func TestServices(t *testing.T) {
	for name, c := range map[string]struct {
		allow, deny []string
		domain      string
		name        string
		want        bool
	}{
		"short":                         {nil, nil, "cluster.local", "web.team-a.svc", false},
		"long":                          {nil, nil, "cluster.local", "web.team-a.svc.cluster.local", false},
		"a wildcard":                    {nil, nil, "cluster.local", "*.team-a.svc", false},
		"a pod's":                       {nil, nil, "cluster.local", "web-0.web.team-a.svc", false},
		"in another domain":             {nil, nil, "k8s.corp", "web.team-a.svc.k8s.corp", false},
		"of no cluster of ours":         {nil, nil, "k8s.corp", "web.team-a.svc.cluster.local", true},
		"short, of a nameless cluster":  {nil, nil, "", "web.team-a.svc", false},
		"named":                         {[]string{"svc"}, nil, "cluster.local", "web.team-a.svc", true},
		"a namespace, named":            {[]string{"team-a.svc"}, nil, "cluster.local", "web.team-a.svc", true},
		"another namespace, named":      {[]string{"team-a.svc"}, nil, "cluster.local", "web.team-b.svc", false},
		"the other form, named":         {[]string{"team-a.svc"}, nil, "cluster.local", "web.team-a.svc.cluster.local", false},
		"named, but denied":             {[]string{"svc"}, []string{"default.svc"}, "cluster.local", "kubernetes.default.svc", false},
		"other names beside":            {nil, nil, "cluster.local", "web.corp.example", true},
		"what only looks like it":       {nil, nil, "cluster.local", "web.mysvc", true},
		"in the domain, but no Service": {nil, nil, "cluster.local", "web.cluster.local", true},
	} {
		t.Run(name, func(t *testing.T) {
			spec := &v1alpha1.AcmeIssuerSpec{
				Profiles:   []v1alpha1.Profile{{Name: "default"}},
				Challenges: v1alpha1.Challenges{Types: []acme.ChallengeType{acme.HTTP01, acme.DNS01}},
				Validation: v1alpha1.Validation{ClusterDomain: c.domain},
			}
			spec.Policy.DNS.Allow, spec.Policy.DNS.Deny = c.allow, c.deny
			p, err := New(spec)
			if err != nil {
				t.Fatal(err)
			}
			problem := p.Identifiers([]acme.Identifier{{Type: acme.DNS, Value: c.name}})
			if (problem == nil) != c.want {
				t.Errorf("got %v", problem)
			}
		})
	}
}
