package main

import (
	"errors"
	"net"
	"net/netip"
	"slices"

	"github.com/pires/go-proxyproto"
)

// proxyProtocol has each connection from a trusted proxy begin with a header of the PROXY protocol, version 1 or 2, by which
// the proxy says whose connection it passes on. Those of others have none: whether there is one is never guessed, as the
// protocol's section 5 wants it.
func proxyProtocol(listener net.Listener, trusted []netip.Prefix) net.Listener {
	return &proxyproto.Listener{
		Listener: listener, ReadHeaderTimeout: readHeaderTimeout, ValidateHeader: overTCP,
		ConnPolicy: func(ends proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
			if !isFrom(ends.Upstream, trusted) {
				return proxyproto.SKIP, nil
			}
			return proxyproto.REQUIRE, nil
		},
	}
}

// overTCP refuses clients without an address, but for the proxy's own connections, such as its health checks.
func overTCP(header *proxyproto.Header) error {
	if _, ok := header.SourceAddr.(*net.TCPAddr); !ok && header.Command.IsProxy() {
		return errors.New("the PROXY header is not of a TCP connection")
	}
	return nil
}

func isFrom(remote net.Addr, ranges []netip.Prefix) bool {
	peer, err := netip.ParseAddrPort(remote.String())
	return err == nil && slices.ContainsFunc(ranges, func(p netip.Prefix) bool { return p.Contains(peer.Addr().Unmap().WithZone("")) })
}
