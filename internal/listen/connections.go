package listen

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"

	"github.com/pires/go-proxyproto"
)

// connections limits the open connections of a listener, in total and for each address. A new connection beyond a limit evicts the
// connection that has been idle longest: one between requests, or one that has not sent its first request. If no connection is
// idle, the new one is closed. So idle connections, however many, can't keep other clients out.
type connections struct {
	max, perAddress int
	// proxies are exempt from perAddress.
	proxies []netip.Prefix

	mu   sync.Mutex
	all  int
	by   map[netip.Addr]*peer
	idle *list.List // of *connection, the one idle longest first
}

// peer is a source of connections: an IPv4 address, or an IPv6 /64 network, since the owner of one address has the network.
type peer struct {
	open int
	idle *list.List
}

func newConnections(limit, perAddress int, proxies []netip.Prefix) *connections {
	return &connections{max: limit, perAddress: perAddress, proxies: proxies, by: map[netip.Addr]*peer{}, idle: list.New()}
}

// connection is an admitted connection.
type connection struct {
	net.Conn
	in      *connections
	address netip.Addr
	peer    *peer
	// The elements of the two idle lists; nil while a request is served.
	idle, idleOfPeer *list.Element
	gone             bool
}

// Close implements net.Conn.
func (c *connection) Close() error {
	c.in.mu.Lock()
	c.in.remove(c)
	c.in.mu.Unlock()
	return c.Conn.Close()
}

// listener accepts connections within the limits.
type listener struct {
	net.Listener
	connections *connections
}

// Accept implements net.Listener.
func (l listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		admitted, evicted := l.connections.admit(conn)
		if evicted != nil {
			_ = evicted.Conn.Close() // evicted, so its error is of no interest
		}
		if admitted != nil {
			return admitted, nil
		}
		_ = conn.Close() // refused
	}
}

// admit adds a connection. admitted is nil if there is no room; evicted, if not nil, must be closed by the caller.
func (c *connections) admit(conn net.Conn) (admitted, evicted *connection) {
	address := sourceOf(conn.RemoteAddr())
	c.mu.Lock()
	defer c.mu.Unlock()
	from := c.by[address]
	if from == nil {
		from = &peer{idle: list.New()}
	}
	full := func(idle *list.List) bool {
		oldest := idle.Front()
		if oldest == nil {
			return true
		}
		evicted = oldest.Value.(*connection)
		c.remove(evicted)
		return false
	}
	if from.open >= c.perAddress && !c.isProxy(address) && full(from.idle) || c.all >= c.max && full(c.idle) {
		return nil, evicted
	}
	admitted = &connection{Conn: conn, in: c, address: address, peer: from}
	c.by[address] = from
	from.open++
	c.all++
	c.markIdle(admitted)
	return admitted, evicted
}

func (c *connections) isProxy(address netip.Addr) bool {
	return slices.ContainsFunc(c.proxies, func(p netip.Prefix) bool { return p.Contains(address) })
}

// remove drops a connection from the counts. It does nothing for a connection that was removed before.
func (c *connections) remove(conn *connection) {
	if conn.gone {
		return
	}
	conn.gone = true
	c.markActive(conn)
	c.all--
	if conn.peer.open--; conn.peer.open == 0 {
		delete(c.by, conn.address)
	}
}

func (c *connections) markIdle(conn *connection) {
	if conn.idle == nil && !conn.gone {
		conn.idle, conn.idleOfPeer = c.idle.PushBack(conn), conn.peer.idle.PushBack(conn)
	}
}

func (c *connections) markActive(conn *connection) {
	if conn.idle != nil {
		c.idle.Remove(conn.idle)
		conn.peer.idle.Remove(conn.idleOfPeer)
		conn.idle, conn.idleOfPeer = nil, nil
	}
}

// observe is an http.Server.ConnState. The server passes its outermost connection, with TLS and the PROXY protocol around ours.
func (c *connections) observe(conn net.Conn, state http.ConnState) {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	if proxied, ok := conn.(*proxyproto.Conn); ok {
		conn = proxied.Raw()
	}
	admitted, ok := conn.(*connection)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateActive:
		c.markActive(admitted)
	case http.StateIdle:
		c.markIdle(admitted)
	}
}

// sourceOf returns the address, or the IPv6 /64 network, that a connection is counted under.
func sourceOf(remote net.Addr) netip.Addr {
	from, err := netip.ParseAddrPort(remote.String())
	if err != nil {
		return netip.Addr{}
	}
	address := from.Addr().Unmap().WithZone("")
	if address.Is6() {
		network, _ := address.Prefix(64) // every IPv6 address has 64 bits
		return network.Addr()
	}
	return address
}
