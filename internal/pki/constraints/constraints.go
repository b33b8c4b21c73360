package constraints

import (
	"crypto/x509"
	"net"
	"net/netip"
	"strings"

	"github.com/acmeca/acmeca/api/acme"
)

// Constraints is what the certificates of a chain let those below them certify. The zero value lets everything.
type Constraints struct{ chain []*x509.Certificate }

// New collects the constraints of a chain of CA certificates.
func New(chain []*x509.Certificate) Constraints { return Constraints{chain} }

// Check gives the certificate whose constraints a normalized identifier is outside of, nil where it is within all. A
// constraint on names leaves addresses alone and the other way round, as RFC 5280 has it.
func (c Constraints) Check(id acme.Identifier) *x509.Certificate {
	for _, cert := range c.chain {
		if !permits(cert, id) {
			return cert
		}
	}
	return nil
}

func permits(cert *x509.Certificate, id acme.Identifier) bool {
	switch id.Type {
	case acme.DNS:
		for _, domain := range cert.ExcludedDNSDomains {
			if within(id.Value, domain) || id.Wildcard() && covers(id.Value, domain) {
				return false
			}
		}
		for _, domain := range cert.PermittedDNSDomains {
			if within(id.Value, domain) {
				return true
			}
		}
		return len(cert.PermittedDNSDomains) == 0
	case acme.IP:
		for _, ipNet := range cert.ExcludedIPRanges {
			if contains(ipNet, id.Value) {
				return false
			}
		}
		for _, ipNet := range cert.PermittedIPRanges {
			if contains(ipNet, id.Value) {
				return true
			}
		}
		return len(cert.PermittedIPRanges) == 0
	}
	return false
}

// within reports whether a domain name is that of a constraint or below it. A leading dot, which RFC 5280 doesn't know in
// constraints on names but which is in use, leaves those below alone.
func within(name, constraint string) bool {
	constraint = strings.ToLower(constraint)
	if constraint == "" || name == constraint {
		return true
	}
	return strings.HasSuffix(name, "."+strings.TrimPrefix(constraint, "."))
}

// covers reports whether a wildcard name stands for a name that the constraint excludes: its asterisk is one label.
func covers(wildcard, constraint string) bool {
	constraint = strings.ToLower(constraint)
	_, parent, found := strings.Cut(constraint, ".")
	return found && "*."+parent == wildcard
}

// contains is false for an address of the other family: an IPv4 range says nothing of IPv6.
func contains(ipNet *net.IPNet, address string) bool {
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return false
	}
	return len(ipNet.IP) == addr.BitLen()/8 && ipNet.Contains(addr.AsSlice())
}
