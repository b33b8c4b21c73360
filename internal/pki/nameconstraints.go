package pki

import (
	"crypto/x509"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/acmeca/acmeca/api/acme"
)

// NameConstraints are the name constraints of a chain of CA certificates (RFC 5280 section 4.2.1.10). The zero value permits
// every identifier.
type NameConstraints struct{ chain []*x509.Certificate }

// NewNameConstraints collects the constraints of a chain of CA certificates.
func NewNameConstraints(chain []*x509.Certificate) NameConstraints { return NameConstraints{chain} }

// Check returns the first certificate whose constraints exclude a normalized identifier, or nil. Constraints on domain names
// do not apply to addresses, nor the other way round (RFC 5280 section 4.2.1.10).
func (c NameConstraints) Check(id acme.Identifier) *x509.Certificate {
	for _, cert := range c.chain {
		if !permits(cert, id) {
			return cert
		}
	}
	return nil
}

// CheckURI returns the first certificate whose constraints exclude a URI by its host, in lower case, or nil.
func (c NameConstraints) CheckURI(host string) *x509.Certificate {
	for _, cert := range c.chain {
		matches := func(constraint string) bool { return hostMatches(host, constraint) }
		if slices.ContainsFunc(cert.ExcludedURIDomains, matches) || !isPermitted(cert.PermittedURIDomains, matches) {
			return cert
		}
	}
	return nil
}

// hostMatches reports whether a constraint on URIs matches a host (RFC 5280 section 4.2.1.10). Unlike a constraint on domain names,
// it matches the names below it only with a leading dot, and then not the name itself.
func hostMatches(host, constraint string) bool {
	constraint = strings.ToLower(constraint)
	if strings.HasPrefix(constraint, ".") {
		return strings.HasSuffix(host, constraint)
	}
	return host == constraint
}

func permits(cert *x509.Certificate, id acme.Identifier) bool {
	switch id.Type {
	case acme.DNS:
		below := func(domain string) bool { return within(id.Value, domain) }
		touches := func(domain string) bool { return below(domain) || id.Wildcard() && covers(id.Value, domain) }
		return !slices.ContainsFunc(cert.ExcludedDNSDomains, touches) && isPermitted(cert.PermittedDNSDomains, below)
	case acme.IP:
		holds := func(ipNet *net.IPNet) bool { return contains(ipNet, id.Value) }
		return !slices.ContainsFunc(cert.ExcludedIPRanges, holds) && isPermitted(cert.PermittedIPRanges, holds)
	}
	return false
}

// isPermitted reports whether one of the permitted subtrees matches. Without such subtrees, everything is permitted.
func isPermitted[T any](permitted []T, matches func(T) bool) bool {
	return len(permitted) == 0 || slices.ContainsFunc(permitted, matches)
}

// within reports whether a domain name equals a constraint or is below it. A constraint with a leading dot matches only names
// below it. RFC 5280 does not define a leading dot for domain names, but CAs use it.
func within(name, constraint string) bool {
	constraint = strings.ToLower(constraint)
	if constraint == "" || name == constraint {
		return true
	}
	return strings.HasSuffix(name, "."+strings.TrimPrefix(constraint, "."))
}

// covers reports whether a wildcard name matches the name of a constraint. The asterisk matches one label.
func covers(wildcard, constraint string) bool {
	constraint = strings.ToLower(constraint)
	_, parent, found := strings.Cut(constraint, ".")
	return found && "*."+parent == wildcard
}

// contains reports whether a range contains an address. An IPv4 range contains no IPv6 address, nor the other way round.
func contains(ipNet *net.IPNet, address string) bool {
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return false
	}
	return len(ipNet.IP) == addr.BitLen()/8 && ipNet.Contains(addr.AsSlice())
}
