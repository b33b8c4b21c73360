package network

import (
	"fmt"
	"net/netip"
	"slices"
)

// deniedRange is a range that validation may not connect to unless it is allowed.
type deniedRange struct {
	prefix netip.Prefix
	// kind of address, for problems.
	kind string
}

// deniedByDefault lists no private ranges (RFC 1918, RFC 4193), since this CA is for the names of internal networks.
var deniedByDefault = []deniedRange{
	{netip.MustParsePrefix("0.0.0.0/8"), "an unspecified address"},
	{netip.MustParsePrefix("127.0.0.0/8"), "a loopback address"},
	{netip.MustParsePrefix("169.254.0.0/16"), "a link-local address"},
	{netip.MustParsePrefix("224.0.0.0/4"), "a multicast address"},
	{netip.MustParsePrefix("240.0.0.0/4"), "a reserved or broadcast address"},
	{netip.MustParsePrefix("100.100.100.200/32"), "a cloud's metadata service"}, // Alibaba
	{netip.MustParsePrefix("168.63.129.16/32"), "a cloud's metadata service"},   // Azure
	{netip.MustParsePrefix("192.0.0.0/24"), "a protocol assignment"},            // RFC 6890; Oracle's metadata service

	// ::/96 is the unspecified address, loopback and the deprecated IPv4-compatible addresses (RFC 4291 section 2.5.5.1).
	{netip.MustParsePrefix("::/96"), "a loopback, unspecified or IPv4-compatible address"},
	{netip.MustParsePrefix("fe80::/10"), "a link-local address"},
	{netip.MustParsePrefix("ff00::/8"), "a multicast address"},
	{netip.MustParsePrefix("100::/64"), "a discard-only address"}, // RFC 6666
	{teredo, "a Teredo address"},
	{localNAT64, "a local NAT64 address"},
	{netip.MustParsePrefix("fd00:ec2::/32"), "a cloud's metadata service"},          // AWS
	{netip.MustParsePrefix("fd20:ce::254/128"), "a cloud's metadata service"},       // Google
	{netip.MustParsePrefix("fd00:c1::a9fe:a9fe/128"), "a cloud's metadata service"}, // Oracle
	{netip.MustParsePrefix("fd00:42::42/128"), "a cloud's metadata service"},        // Scaleway
}

// AddressPolicy decides which addresses validation may connect to. deny wins over allow, and allow over protected.
type AddressPolicy struct {
	protected   []deniedRange
	allow, deny []netip.Prefix
}

func NewAddressPolicy(protected, allow, deny []netip.Prefix) (AddressPolicy, error) {
	p := AddressPolicy{protected: slices.Clone(deniedByDefault)}
	for _, list := range []struct {
		from []netip.Prefix
		add  func(netip.Prefix)
	}{
		{protected, func(n netip.Prefix) {
			p.protected = append(p.protected, deniedRange{n, "a protected address of the cluster"})
		}},
		{allow, func(n netip.Prefix) { p.allow = append(p.allow, n) }},
		{deny, func(n netip.Prefix) { p.deny = append(p.deny, n) }},
	} {
		for _, prefix := range list.from {
			if !prefix.IsValid() {
				return AddressPolicy{}, fmt.Errorf("address range %v is not valid", prefix)
			}
			list.add(unmapPrefix(prefix))
		}
	}
	return p, nil
}

// unmapPrefix returns the IPv4 range for a range of IPv4-mapped addresses, and other ranges as they are: addresses are unmapped
// before they are compared.
func unmapPrefix(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96).Masked()
	}
	return p.Masked()
}

// Objection returns the reason why validation may not connect to addr, or "" if it may. An address that carries an IPv4 address
// is checked as both, since a gateway may unwrap it.
func (p AddressPolicy) Objection(addr netip.Addr) string {
	if !addr.IsValid() || addr.Zone() != "" {
		return "not a plain address"
	}
	addr = addr.Unmap()
	if why := p.objectionTo(addr); why != "" {
		return why
	}
	for _, inner := range embedded(addr) {
		if why := p.objectionTo(inner); why != "" {
			return fmt.Sprintf("carrying %v, %s", inner, why)
		}
	}
	return ""
}

func (p AddressPolicy) objectionTo(addr netip.Addr) string {
	contains := func(n netip.Prefix) bool { return n.Contains(addr) }
	if slices.ContainsFunc(p.deny, contains) {
		return "in a denied range"
	}
	if slices.ContainsFunc(p.allow, contains) {
		return ""
	}
	for _, r := range p.protected {
		if r.prefix.Contains(addr) {
			return r.kind
		}
	}
	return ""
}

// Denied reports whether one of ranges contains addr, or an IPv4 address that addr carries.
func Denied(ranges []netip.Prefix, addr netip.Addr) bool {
	addr = addr.WithZone("").Unmap()
	for _, form := range append(embedded(addr), addr) {
		if slices.ContainsFunc(ranges, func(p netip.Prefix) bool { return unmapPrefix(p).Contains(form) }) {
			return true
		}
	}
	return false
}

// carrier is a form of IPv6 addresses that carries an IPv4 address.
type carrier struct {
	prefix netip.Prefix
	// octets are the positions of the IPv4 address.
	octets [4]int
	// inverted means that the IPv4 address is stored with all bits inverted.
	inverted bool
	// loose means that other addresses of prefix have the form too, so an IPv4 address in 0.0.0.0/8 is none.
	loose bool
}

var (
	localNAT64 = netip.MustParsePrefix("64:ff9b:1::/48") // RFC 8215
	teredo     = netip.MustParsePrefix("2001::/32")      // RFC 4380 section 4
)

var carriers = []carrier{
	{prefix: netip.MustParsePrefix("64:ff9b::/96"), octets: [4]int{12, 13, 14, 15}},       // NAT64, RFC 6052 section 2.1
	{prefix: netip.MustParsePrefix("2002::/16"), octets: [4]int{2, 3, 4, 5}},              // 6to4, RFC 3056 section 2
	{prefix: netip.MustParsePrefix("::ffff:0:0:0/96"), octets: [4]int{12, 13, 14, 15}},    // SIIT, RFC 2765 section 2.1
	{prefix: netip.MustParsePrefix("::/96"), octets: [4]int{12, 13, 14, 15}, loose: true}, // RFC 4291 section 2.5.5.1
	{prefix: teredo, octets: [4]int{4, 5, 6, 7}, loose: true},                             // the Teredo server
	{prefix: teredo, octets: [4]int{12, 13, 14, 15}, inverted: true, loose: true},         // the Teredo client
	// A network that uses local NAT64 chooses the length of the prefix (RFC 6052 section 2.2).
	{prefix: localNAT64, octets: [4]int{6, 7, 9, 10}, loose: true},
	{prefix: localNAT64, octets: [4]int{7, 9, 10, 11}, loose: true},
	{prefix: localNAT64, octets: [4]int{9, 10, 11, 12}, loose: true},
	{prefix: localNAT64, octets: [4]int{12, 13, 14, 15}, loose: true},
}

// isatap is the form of ISATAP (RFC 5214 section 6.1), under any prefix.
var isatap = carrier{octets: [4]int{12, 13, 14, 15}, loose: true}

func isISATAP(raw [16]byte) bool {
	return raw[8]&^0x03 == 0 && raw[9] == 0 && raw[10] == 0x5e && raw[11] == 0xfe
}

// embedded returns the IPv4 addresses that an IPv6 address carries.
func embedded(addr netip.Addr) (inner []netip.Addr) {
	if !addr.Is6() {
		return nil
	}
	raw := addr.As16()
	add := func(c carrier) {
		var four [4]byte
		for i, at := range c.octets {
			four[i] = raw[at]
			if c.inverted {
				four[i] = ^four[i]
			}
		}
		if four[0] != 0 || !c.loose {
			inner = append(inner, netip.AddrFrom4(four))
		}
	}
	for _, c := range carriers {
		if c.prefix.Contains(addr) {
			add(c)
		}
	}
	if isISATAP(raw) {
		add(isatap)
	}
	return inner
}
