package listen

import (
	"errors"
	"net"
	"net/netip"
	"slices"

	"github.com/pires/go-proxyproto"
)

// proxyProtocol returns a listener that requires a PROXY protocol header, version 1 or 2, on each connection from a trusted proxy.
// Other connections have no header: a header is never guessed from the data, as section 5 of the protocol demands.
func proxyProtocol(listener net.Listener, trusted []netip.Prefix) net.Listener {
	return &proxyproto.Listener{
		Listener: listener, ReadHeaderTimeout: ReadHeaderTimeout, ValidateHeader: requireTCP,
		ConnPolicy: func(ends proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
			if !isFrom(ends.Upstream, trusted) {
				return proxyproto.SKIP, nil
			}
			return proxyproto.REQUIRE, nil
		},
	}
}

// requireTCP refuses headers that name no TCP address. The proxy's own connections, such as health checks, need none.
func requireTCP(header *proxyproto.Header) error {
	if _, ok := header.SourceAddr.(*net.TCPAddr); !ok && header.Command.IsProxy() {
		return errors.New("the PROXY header is not of a TCP connection")
	}
	return nil
}

func isFrom(remote net.Addr, ranges []netip.Prefix) bool {
	peer, err := netip.ParseAddrPort(remote.String())
	return err == nil && slices.ContainsFunc(ranges, func(p netip.Prefix) bool { return p.Contains(peer.Addr().Unmap().WithZone("")) })
}
