package pki

import (
	"crypto/x509"
	"net"
	"net/netip"
	"testing"

	"github.com/acmeca/acmeca/api/acme"
)

func identifier(value string) acme.Identifier {
	if _, err := netip.ParseAddr(value); err == nil {
		return acme.Identifier{Type: acme.IP, Value: value}
	}
	return acme.Identifier{Type: acme.DNS, Value: value}
}

func ranges(t *testing.T, cidrs ...string) []*net.IPNet {
	t.Helper()
	var out []*net.IPNet
	for _, cidr := range cidrs {
		_, r, err := net.ParseCIDR(cidr)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

// The tests of package ca compare with the verdicts of clients on the same certificates.
func TestNameConstraints(t *testing.T) {
	permit := func(domains ...string) x509.Certificate { return x509.Certificate{PermittedDNSDomains: domains} }
	exclude := func(domains ...string) x509.Certificate { return x509.Certificate{ExcludedDNSDomains: domains} }
	for _, test := range []struct {
		name        string
		cert        x509.Certificate
		in, outside []string
	}{
		{"none", x509.Certificate{}, []string{"a.test", "*.a.test", "10.0.0.1", "fd00::1"}, nil},
		{"permitted", permit("corp.test", "other.test"), []string{"corp.test", "a.corp.test", "*.corp.test", "b.a.other.test", "10.0.0.1"},
			[]string{"test", "xcorp.test", "corp.test.x", "*.test", "a.test"}},
		{"permitted in upper case", permit("CORP.test"), []string{"a.corp.test"}, []string{"a.test"}},
		{"permitted below alone", permit(".corp.test"), []string{"a.corp.test", "*.corp.test"}, []string{"xcorp.test", "corp.test"}},
		{"every name permitted", permit(""), []string{"a.test"}, nil},
		{"excluded", exclude("corp.test"), []string{"test", "xcorp.test", "10.0.0.1", "*.a.test"}, []string{"corp.test", "a.corp.test", "*.corp.test", "*.test"}},
		{"excluded deep", exclude("b.a.test"), []string{"a.test", "*.test", "a.b.test"}, []string{"*.a.test", "b.a.test"}},
		{"both", x509.Certificate{PermittedDNSDomains: []string{"test"}, ExcludedDNSDomains: []string{"a.test"}}, []string{"b.test"}, []string{"a.test", "x.a.test", "b.org"}},
		{"addresses", x509.Certificate{PermittedIPRanges: ranges(t, "10.0.0.0/8", "fd00::/8"), ExcludedIPRanges: ranges(t, "10.1.0.0/16")},
			[]string{"10.0.0.1", "10.255.0.1", "fd00::1", "a.test"}, []string{"11.0.0.1", "10.1.2.3", "fe80::1"}},
		{"IPv4 permitted says no to IPv6", x509.Certificate{PermittedIPRanges: ranges(t, "0.0.0.0/0")}, []string{"10.0.0.1"}, []string{"fd00::1"}},
		{"IPv4 excluded says nothing of IPv6", x509.Certificate{ExcludedIPRanges: ranges(t, "0.0.0.0/0")}, []string{"fd00::1"}, []string{"10.0.0.1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, chain := range [][]*x509.Certificate{{&test.cert}, {{}, &test.cert}} {
				for _, value := range test.in {
					if NewNameConstraints(chain).Check(identifier(value)) != nil {
						t.Errorf("%s is outside", value)
					}
				}
				for _, value := range test.outside {
					if NewNameConstraints(chain).Check(identifier(value)) != &test.cert {
						t.Errorf("%s is within", value)
					}
				}
			}
		})
	}
}

func TestNameConstraintsOfOddIdentifiers(t *testing.T) {
	if (NameConstraints{}).Check(acme.Identifier{Type: "email", Value: "a@b"}) != nil {
		t.Error("no certificate constrains, and one is named")
	}
	constraints := NewNameConstraints([]*x509.Certificate{{PermittedIPRanges: ranges(t, "10.0.0.0/8")}})
	for _, id := range []acme.Identifier{{Type: "email", Value: "a@b"}, {Type: acme.IP, Value: "x"}} {
		if constraints.Check(id) == nil {
			t.Errorf("%v is within", id)
		}
	}
}

func TestNameConstraintsOfURIs(t *testing.T) {
	for _, test := range []struct {
		name        string
		cert        x509.Certificate
		in, outside []string
	}{
		{"none", x509.Certificate{PermittedDNSDomains: []string{"a.test"}}, []string{"prod", "prod.test"}, nil},
		{"permitted", x509.Certificate{PermittedURIDomains: []string{"Prod.test"}}, []string{"prod.test"}, []string{"a.prod.test", "test", "xprod.test"}},
		{"permitted below alone", x509.Certificate{PermittedURIDomains: []string{".prod.test"}}, []string{"a.prod.test"}, []string{"prod.test", "xprod.test"}},
		{"excluded", x509.Certificate{ExcludedURIDomains: []string{"prod.test"}}, []string{"a.prod.test", "dev"}, []string{"prod.test"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			constraints := NewNameConstraints([]*x509.Certificate{{}, &test.cert})
			for _, host := range test.in {
				if constraints.CheckURI(host) != nil {
					t.Errorf("%s is outside", host)
				}
			}
			for _, host := range test.outside {
				if constraints.CheckURI(host) != &test.cert {
					t.Errorf("%s is inside", host)
				}
			}
		})
	}
}
