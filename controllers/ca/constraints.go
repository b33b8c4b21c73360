package ca

import (
	"crypto/x509"
	"net"
	"net/netip"
	"strings"

	"github.com/acmeca/acmeca/api/acme"
)

// NameConstraints is what the certificates of a chain let those below them certify (RFC 5280 section 4.2.1.10).
type NameConstraints struct{ chain []*x509.Certificate }

// NewNameConstraints collects the constraints of a chain of CA certificates.
func NewNameConstraints(chain []*x509.Certificate) NameConstraints { return NameConstraints{chain} }

// Check says with a rejectedIdentifier problem why a normalized identifier is outside the constraints. A constraint on
// names leaves addresses alone and the other way round, as RFC 5280 has it.
func (n NameConstraints) Check(id acme.Identifier) *acme.Problem {
	for _, cert := range n.chain {
		if !permits(cert, id) {
			return acme.NewProblem(acme.RejectedIdentifier, "%q is outside the name constraints of the CA certificate %s",
				id.Value, name(cert)).About(id)
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
