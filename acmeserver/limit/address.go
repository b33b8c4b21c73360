package limit

import (
	"net/netip"
	"slices"
	"strings"
)

// ClientAddress returns the address that a request comes from. It is the peer's address, unless the peer is a trusted
// proxy. Then it is the last entry of X-Forwarded-For that was not added on behalf of a trusted proxy: entries that the
// client wrote itself are ignored.
func ClientAddress(peer string, forwardedFor []string, trusted []netip.Prefix) netip.Addr {
	address := parseAddress(peer)
	hops := strings.Split(strings.Join(forwardedFor, ","), ",")
	for _, hop := range slices.Backward(hops) {
		contains := func(p netip.Prefix) bool { return p.Contains(address) }
		before := parseAddress(strings.TrimSpace(hop))
		if !before.IsValid() || !slices.ContainsFunc(trusted, contains) {
			break
		}
		address = before
	}
	return address
}

// parseAddress parses an address with or without a port. It returns the zero Addr if the text is not an address.
func parseAddress(text string) netip.Addr {
	if withPort, err := netip.ParseAddrPort(text); err == nil {
		return withPort.Addr().Unmap().WithZone("")
	}
	address, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return address.Unmap().WithZone("")
}

// Origin returns the key by which a client is counted: its IPv4 address, or its IPv6 network of 64 bits, since the owner
// of one IPv6 address usually has 2^64.
func Origin(address netip.Addr) string {
	if !address.IsValid() {
		return "unknown"
	}
	if address.Is4() {
		return address.String()
	}
	network, err := address.Prefix(64)
	if err != nil {
		return "unknown"
	}
	return network.String()
}
