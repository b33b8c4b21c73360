package acme

import (
	"net/netip"
	"strings"
)

// IdentifierType is a kind of identifier (RFC 8555 section 9.7.7).
type IdentifierType string

const (
	// DNS is a domain name (RFC 8555 section 7.1.4).
	DNS IdentifierType = "dns"
	// IP is an IPv4 or IPv6 address (RFC 8738).
	IP IdentifierType = "ip"
)

// Identifier is the subject of a certificate or authorization (RFC 8555 sections 7.1.3 and 7.1.4).
type Identifier struct {
	Type  IdentifierType `json:"type"`
	Value string         `json:"value"`
}

// MaxNameLength is the maximum length of a domain name in presentation form, without the final dot (RFC 1035 section 2.3.4).
const MaxNameLength = 253

const wildcardPrefix = "*."

// Wildcard reports whether the identifier is a wildcard domain name (RFC 8555 section 7.1.3).
func (i Identifier) Wildcard() bool {
	return i.Type == DNS && strings.HasPrefix(i.Value, wildcardPrefix)
}

// Base returns the identifier of an authorization: a wildcard without its "*." (RFC 8555 section 7.1.4), or i.
func (i Identifier) Base() Identifier {
	if i.Wildcard() {
		i.Value = strings.TrimPrefix(i.Value, wildcardPrefix)
	}
	return i
}

// Normalize returns the canonical form of the identifier, in which it is stored and compared: names in lower case, addresses in the
// form of RFC 5952. The problem is unsupportedIdentifier, rejectedIdentifier or malformed.
func (i Identifier) Normalize() (Identifier, *Problem) {
	switch i.Type {
	case DNS:
		i.Value = lowerASCII(i.Value)
		if reason := nameFault(i.Base().Value); reason != "" {
			return Identifier{}, rejected(i, reason)
		}
		return i, nil
	case IP:
		addr, err := netip.ParseAddr(i.Value)
		if err != nil || addr.Zone() != "" {
			return Identifier{}, rejected(i, "is not an IP address in the form of RFC 1123 section 2.1 or RFC 5952 section 4")
		}
		// RFC 8738 section 3 requires the text form of RFC 5952. An IPv4-mapped address would be the same host under another name
		// and another policy.
		if addr.Is4In6() {
			return Identifier{}, rejected(i, "is an IPv4-mapped IPv6 address; ask for the IPv4 address")
		}
		i.Value = addr.String()
		return i, nil
	}
	return Identifier{}, NewProblem(UnsupportedIdentifier, "identifier type %q is not supported; use \"dns\" or \"ip\"",
		Printable(string(i.Type), 32)).About(printableIdentifier(i))
}

func rejected(i Identifier, reason string) *Problem {
	return NewProblem(RejectedIdentifier, "%q %s", Printable(i.Value, MaxNameLength), reason).About(printableIdentifier(i))
}

func printableIdentifier(i Identifier) Identifier {
	return Identifier{Type: IdentifierType(Printable(string(i.Type), 32)), Value: Printable(i.Value, MaxNameLength)}
}

// nameFault returns the reason why a name is not a valid host name for a certificate (LDH labels, RFC 5890 section 2.3.1), or "". A
// single label is valid, because internal networks use them; policy decides.
func nameFault(name string) string {
	switch {
	case name == "":
		return "is an empty name"
	case len(name) > MaxNameLength:
		return "is longer than 253 bytes"
	case strings.HasSuffix(name, "."):
		return "ends in a dot; leave it out"
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return "is an IP address; ask for it with identifier type \"ip\""
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if reason := labelFault(label); reason != "" {
			return reason
		}
	}
	if isDigits(labels[len(labels)-1]) {
		return "has an all-numeric last label, which reads as an IP address"
	}
	return ""
}

func labelFault(label string) string {
	switch {
	case label == "":
		return "has an empty label"
	case len(label) > 63:
		return "has a label longer than 63 bytes"
	case label == "*":
		return "has a wildcard that is not the whole first label"
	case label[0] == '-' || label[len(label)-1] == '-':
		return "has a label that begins or ends with a hyphen"
	}
	for _, c := range []byte(label) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return "has a character other than letters, digits and hyphens; write an internationalized name in its A-label form (xn--...)"
		}
	}
	// Hyphens in the third and fourth position are reserved, and only "xn--" has a meaning (RFC 5890 section 2.3.1).
	if len(label) >= 4 && label[2:4] == "--" && !strings.HasPrefix(label, "xn--") {
		return "has a label with hyphens in third and fourth position that is not an A-label"
	}
	return ""
}

func isDigits(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// lowerASCII converts ASCII letters to lower case. Unicode lower-casing would map some other letters, such as the Kelvin sign, to
// ASCII.
func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
