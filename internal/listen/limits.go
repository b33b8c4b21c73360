package listen

import (
	"net"
	"net/http"
	"net/netip"
)

// Limits bound the connections to one listener.
type Limits struct {
	// Connections is the number of open connections.
	Connections int
	// PerClient is the number of open connections from one IPv4 address or IPv6 /64 network.
	PerClient int
	// Proxies are trusted. PerClient does not apply to them, since a proxy has many clients.
	Proxies []netip.Prefix
	// PROXYProtocol requires a PROXY protocol header on each connection from Proxies.
	PROXYProtocol bool
}

// Apply returns inner with the limits applied, for server to serve on. It sets server.ConnState. The limits count the addresses of
// peers, before a PROXY header names the client.
func (l Limits) Apply(server *http.Server, inner net.Listener) net.Listener {
	open := newConnections(l.Connections, l.PerClient, l.Proxies)
	server.ConnState = open.observe
	if l.PROXYProtocol {
		return proxyProtocol(listener{inner, open}, l.Proxies)
	}
	return listener{inner, open}
}
