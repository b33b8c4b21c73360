package main

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

// connections bound those of a listener: in all, and from one address. A new one beyond that takes the place of the one that
// has been quiet for longest (that waits for its next request, or hasn't sent its first one yet); where all are being
// served, it is closed. So thousands of idle connections keep nobody out.
type connections struct {
	max, perAddress int
	// proxies aren't bounded as one address: theirs are many clients.
	proxies []netip.Prefix

	mu    sync.Mutex
	all   int
	by    map[netip.Addr]*peer
	quiet *list.List // of *connection, the one that is quiet for longest first
}

// peer is where connections come from: an IPv4 address, or an IPv6 network of 64 bits, which who has one address has.
type peer struct {
	open  int
	quiet *list.List
}

func newConnections(limit, perAddress int, proxies []netip.Prefix) *connections {
	return &connections{max: limit, perAddress: perAddress, proxies: proxies, by: map[netip.Addr]*peer{}, quiet: list.New()}
}

// connection is one that was admitted.
type connection struct {
	net.Conn
	in      *connections
	address netip.Addr
	peer    *peer
	// The places in the two lists of quiet ones; nil while it is being served.
	quiet, quietOfPeer *list.Element
	gone               bool
}

// Close implements net.Conn.
func (c *connection) Close() error {
	c.in.mu.Lock()
	c.in.forget(c)
	c.in.mu.Unlock()
	return c.Conn.Close()
}

// listener admits connections.
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
			_ = evicted.Conn.Close() // it is given up
		}
		if admitted != nil {
			return admitted, nil
		}
		_ = conn.Close() // there is no place for it
	}
}

// admit gives a connection a place, and one that has to give up its own for that.
func (c *connections) admit(conn net.Conn) (admitted, evicted *connection) {
	address := sourceOf(conn.RemoteAddr())
	c.mu.Lock()
	defer c.mu.Unlock()
	from := c.by[address]
	if from == nil {
		from = &peer{quiet: list.New()}
	}
	full := func(quiet *list.List) bool {
		oldest := quiet.Front()
		if oldest == nil {
			return true
		}
		evicted = oldest.Value.(*connection)
		c.forget(evicted)
		return false
	}
	if from.open >= c.perAddress && !c.isProxy(address) && full(from.quiet) || c.all >= c.max && full(c.quiet) {
		return nil, evicted
	}
	admitted = &connection{Conn: conn, in: c, address: address, peer: from}
	c.by[address] = from
	from.open++
	c.all++
	c.rest(admitted)
	return admitted, evicted
}

func (c *connections) isProxy(address netip.Addr) bool {
	return slices.ContainsFunc(c.proxies, func(p netip.Prefix) bool { return p.Contains(address) })
}

// forget takes a connection out; it may be called again.
func (c *connections) forget(conn *connection) {
	if conn.gone {
		return
	}
	conn.gone = true
	c.rouse(conn)
	c.all--
	if conn.peer.open--; conn.peer.open == 0 {
		delete(c.by, conn.address)
	}
}

// rest notes that a connection is quiet from now on, rouse that it isn't.
func (c *connections) rest(conn *connection) {
	if conn.quiet == nil && !conn.gone {
		conn.quiet, conn.quietOfPeer = c.quiet.PushBack(conn), conn.peer.quiet.PushBack(conn)
	}
}

func (c *connections) rouse(conn *connection) {
	if conn.quiet != nil {
		c.quiet.Remove(conn.quiet)
		conn.peer.quiet.Remove(conn.quietOfPeer)
		conn.quiet, conn.quietOfPeer = nil, nil
	}
}

// observe is for http.Server.ConnState.
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
		c.rouse(admitted)
	case http.StateIdle:
		c.rest(admitted)
	}
}

// sourceOf is what connections are counted by.
func sourceOf(remote net.Addr) netip.Addr {
	from, err := netip.ParseAddrPort(remote.String())
	if err != nil {
		return netip.Addr{}
	}
	address := from.Addr().Unmap().WithZone("")
	if address.Is6() {
		network, _ := address.Prefix(64) // no IPv6 address is too short for that
		return network.Addr()
	}
	return address
}
