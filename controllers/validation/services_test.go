package validation

import (
	"testing"

	"github.com/acmeca/acmeca/api/acme"
)

// Every step of a validation completes the names of Services with the cluster's domain, and no other names.
func TestServices(t *testing.T) {
	zone := []string{"web.team-a.svc.cluster.local. A 10.96.0.7", "other.team-a.svc.cluster.local. A 10.96.0.8", "a.test. A 10.96.0.9"}
	for name, c := range map[string]struct {
		domain, host string
		want         expectation
		dials        []string
	}{
		"short":                    {"cluster.local", "web.team-a.svc", expectation{}, []string{"10.96.0.7:80"}},
		"long":                     {"cluster.local", "web.team-a.svc.cluster.local", expectation{}, []string{"10.96.0.7:80"}},
		"the domain with a dot":    {"Cluster.Local.", "web.team-a.svc", expectation{}, []string{"10.96.0.7:80"}},
		"another domain":           {"other.local", "web.team-a.svc", expectation{problem: acme.DNSProblem, detail: "NXDOMAIN"}, nil},
		"no domain":                {"", "web.team-a.svc", expectation{problem: acme.DNSProblem, detail: "NXDOMAIN"}, nil},
		"shorter than its service": {"cluster.local", "web.team-a", expectation{problem: acme.DNSProblem, detail: "NXDOMAIN"}, nil},
		"a part of the label":      {"cluster.local", "web.team-a.xsvc", expectation{problem: acme.DNSProblem, detail: "NXDOMAIN"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, zone...)
			w.config.ClusterDomain = c.domain
			w.http(keyAuthorizationServer, "10.96.0.7:80", "10.96.0.8:80")
			c.want.check(t, w.validator().Validate(t.Context(), dnsRequest(acme.HTTP01, c.host)))
			equal(t, "dials", w.dials, c.dials)
		})
	}
	t.Run("in a redirect", func(t *testing.T) {
		w := newWorld(t, zone...)
		w.config.ClusterDomain = "cluster.local"
		w.http(redirectTo("http://web.team-a.svc/.well-known/acme-challenge/"+testToken), "10.96.0.9:80")
		w.http(keyAuthorizationServer, "10.96.0.7:80")
		expectation{}.check(t, w.validator().Validate(t.Context(), dnsRequest(acme.HTTP01, "a.test")))
	})
	t.Run("for CAA", func(t *testing.T) {
		w := newWorld(t, append(zone, `svc.cluster.local. CAA 0 issue ";"`)...)
		w.config.ClusterDomain, w.config.CAA = "cluster.local", true
		w.http(keyAuthorizationServer, "10.96.0.7:80")
		expectation{problem: acme.CAA, detail: `"svc.cluster.local"`}.check(t, w.validator().Validate(t.Context(), dnsRequest(acme.HTTP01, "web.team-a.svc")))
	})
}
