package acmeserver

import (
	"net/netip"
	"slices"
	"strings"
)

// clientAddress is the address of who sent a request: the peer's, or where that is a trusted proxy, the one that it, and
// trusted proxies before it, say that the request came from. What others put into the header counts for nothing.
func clientAddress(peer string, forwardedFor []string, trusted []netip.Prefix) netip.Addr {
	address := parseAddress(peer)
	hops := strings.Split(strings.Join(forwardedFor, ","), ",")
	for _, hop := range slices.Backward(hops) {
		isProxy := func(p netip.Prefix) bool { return p.Contains(address) }
		before := parseAddress(strings.TrimSpace(hop))
		if !before.IsValid() || !slices.ContainsFunc(trusted, isProxy) {
			break
		}
		address = before
	}
	return address
}

// parseAddress reads an address with or without a port; the zero Addr is none.
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

// originOf is what addresses are counted by: one who has an IPv6 address has 2^64 of them.
func originOf(address netip.Addr) string {
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
