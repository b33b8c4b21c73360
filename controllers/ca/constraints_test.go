package ca

import (
	"crypto/x509"
	"testing"

	"pgregory.net/rapid"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/internal/pki"
)

func TestNameConstraints(t *testing.T) {
	type cert = x509.Certificate
	permit := func(domains ...string) func(*cert) { return func(c *cert) { c.PermittedDNSDomains = domains } }
	exclude := func(domains ...string) func(*cert) { return func(c *cert) { c.ExcludedDNSDomains = domains } }
	for _, test := range []struct {
		name        string
		edit        func(*cert)
		in, outside []string
	}{
		{"permitted", permit("corp.test"), []string{"corp.test", "a.corp.test", "*.corp.test", "10.0.0.1"}, []string{"test", "xcorp.test", "*.test"}},
		{"excluded", exclude("corp.test"), []string{"test", "10.0.0.1", "*.a.test"}, []string{"corp.test", "a.corp.test", "*.test"}},
		{"addresses", func(c *cert) {
			c.PermittedIPRanges, c.ExcludedIPRanges = ipNets("10.0.0.0/8", "fd00::/8"), ipNets("10.1.0.0/16")
		}, []string{"10.0.0.1", "fd00::1", "a.test"}, []string{"11.0.0.1", "10.1.2.3", "fe80::1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := testAuthority(t, ECDSAP256, func(c *cert) { test.edit(c); c.PermittedDNSDomainsCritical = true })
			for _, id := range identifiers(test.in...) {
				if problem := a.CheckIdentifier(id); problem != nil {
					t.Errorf("%s: %v", id.Value, problem)
				}
			}
			for _, id := range identifiers(test.outside...) {
				problem := a.CheckIdentifier(id)
				if problem == nil || problem.Type != acme.RejectedIdentifier || *problem.Identifier != id {
					t.Errorf("%s: got %v", id.Value, problem)
				}
				if _, err := a.Prepare(testProfile(), testRequest(id.Value)); err == nil {
					t.Errorf("%s was prepared", id.Value)
				}
			}
		})
	}
}

// Clients verify the names that the constraints permit, and reject the others.
func TestNameConstraintsAgreeWithVerify(t *testing.T) {
	label := rapid.SampledFrom([]string{"a", "b", "ab"})
	domain := rapid.Custom(func(t *rapid.T) string {
		text := label.Draw(t, "top")
		for range rapid.IntRange(0, 2).Draw(t, "depth") {
			text = label.Draw(t, "label") + "." + text
		}
		return text
	})
	identifier := rapid.Custom(func(t *rapid.T) string {
		switch rapid.IntRange(0, 4).Draw(t, "kind") {
		case 0:
			return "*." + domain.Draw(t, "name")
		case 1:
			return rapid.SampledFrom([]string{"10.0.0.1", "10.1.0.1", "11.0.0.1", "fd00::1", "fe80::1"}).Draw(t, "address")
		}
		return domain.Draw(t, "name")
	})
	ranges := rapid.SliceOfN(rapid.SampledFrom([]string{"10.0.0.0/8", "10.1.0.0/16", "fd00::/8"}), 0, 2)

	rapid.Check(t, func(t *rapid.T) {
		root := testCert(caCert("Root", func(c *x509.Certificate) {
			c.PermittedDNSDomainsCritical = true
			c.PermittedDNSDomains = rapid.SliceOfN(domain, 0, 2).Draw(t, "permitted")
			c.ExcludedDNSDomains = rapid.SliceOfN(domain, 0, 2).Draw(t, "excluded")
			c.PermittedIPRanges = ipNets(ranges.Draw(t, "permitted ranges")...)
			c.ExcludedIPRanges = ipNets(ranges.Draw(t, "excluded ranges")...)
		}), testKey(ECDSAP256, "root"), nil)
		id := identifiers(identifier.Draw(t, "identifier"))[0]

		leaf := x509.Certificate{NotBefore: testNow, NotAfter: testNow.Add(day)}
		if ip := parseIP(id); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = []string{id.Value}
		}
		cert := testCert(leaf, testKey(ECDSAP256, "leaf"), root).Certificate
		outside := pki.NewNameConstraints([]*x509.Certificate{root.Certificate}).Check(id)
		err := verify(cert, nil, []*x509.Certificate{root.Certificate}, testNow)
		if (outside == nil) != (err == nil) {
			t.Fatalf("outside by the constraints: %v, a client says %v", outside != nil, err)
		}
	})
}
