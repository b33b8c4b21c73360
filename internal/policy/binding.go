package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// binding contains the limits of an account's external account key.
type binding struct {
	names    []string
	ips      []netip.Prefix
	profiles []string
	// identifiers is true if names and ips are the only allowed identifiers.
	identifiers bool
}

// For returns the policy narrowed by the limits of an external account key, or p for nil.
func (p *Policy) For(account *v1alpha1.ExternalAccountPolicy) *Policy {
	if account == nil {
		return p
	}
	b := &binding{names: account.DNS, profiles: account.Profiles, identifiers: len(account.DNS)+len(account.IPs) > 0}
	for _, cidr := range account.IPs {
		if prefix, err := netip.ParsePrefix(cidr); err == nil { // an invalid prefix allows nothing
			b.ips = append(b.ips, prefix.Masked())
		}
	}
	narrowed := *p
	narrowed.binding = b
	if len(b.profiles) > 0 {
		narrowed.profiles = slices.DeleteFunc(slices.Clone(p.profiles),
			func(q v1alpha1.Profile) bool { return !slices.Contains(b.profiles, q.Name) })
		if !slices.Contains(b.profiles, p.defaultProfile) && len(narrowed.profiles) > 0 {
			narrowed.defaultProfile = narrowed.profiles[0].Name
		}
	}
	return &narrowed
}

// refusal returns the reason why an identifier is outside the limits, or "".
func (b *binding) refusal(id acme.Identifier) string {
	if b == nil || !b.identifiers {
		return ""
	}
	const outside = "is outside the limits of this account's external account key"
	switch id.Type {
	case acme.DNS:
		if slices.ContainsFunc(b.names, func(domain string) bool { return within(id.Base().Value, id.Wildcard(), domain) }) {
			return ""
		}
	case acme.IP:
		addr, err := netip.ParseAddr(id.Value)
		if err == nil && slices.ContainsFunc(b.ips, func(r netip.Prefix) bool { return r.Contains(addr) }) {
			return ""
		}
	}
	return outside
}

// maxBindingEntries is the limit of each list of an ExternalAccountPolicy.
const maxBindingEntries = 64

// ParseBinding reads the limits of an external account key from its lists, whose entries are separated by commas or white space. It
// returns nil if all lists are empty. The error names the invalid list.
func ParseBinding(dns, ips, profiles string) (*v1alpha1.ExternalAccountPolicy, error) {
	split := func(text string) []string {
		return strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })
	}
	parsed := &v1alpha1.ExternalAccountPolicy{DNS: split(dns), IPs: split(ips), Profiles: split(profiles)}
	for i, domain := range parsed.DNS {
		normal, problem := acme.Identifier{Type: acme.DNS, Value: strings.TrimPrefix(domain, ".")}.Normalize()
		if problem != nil || normal.Wildcard() {
			return nil, fmt.Errorf("allowed-dns: %q is not a domain", acme.Printable(domain, 64))
		}
		if strings.HasPrefix(domain, ".") {
			normal.Value = "." + normal.Value
		}
		parsed.DNS[i] = normal.Value
	}
	for i, cidr := range parsed.IPs {
		prefix, err := netip.ParsePrefix(cidr)
		if err != nil {
			return nil, fmt.Errorf("allowed-ips: %q is not an address range such as 10.0.0.0/8", acme.Printable(cidr, 64))
		}
		parsed.IPs[i] = prefix.Masked().String()
	}
	if longest := max(len(parsed.DNS), len(parsed.IPs), len(parsed.Profiles)); longest == 0 {
		return nil, nil
	} else if longest > maxBindingEntries {
		return nil, fmt.Errorf("allowed-dns, allowed-ips and allowed-profiles can have at most %d entries each", maxBindingEntries)
	}
	if i := slices.IndexFunc(parsed.Profiles, func(name string) bool { return len(name) > 63 }); i >= 0 {
		return nil, fmt.Errorf("allowed-profiles: %q is not the name of a profile", acme.Printable(parsed.Profiles[i], 64))
	}
	return parsed, nil
}
