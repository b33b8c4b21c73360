package listen

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"testing"

	"github.com/pires/go-proxyproto"
)

// wire is a connection from a fixed address.
type wire struct {
	net.Conn
	from   string
	closed bool
}

func (w *wire) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(w.from)) }
func (w *wire) Close() error         { w.closed = true; return nil }

func TestIdleConnectionsAreEvicted(t *testing.T) {
	c := newConnections(3, 2, []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")})
	admit := func(from string) (*connection, *connection) { return c.admit(&wire{from: from}) }

	first, _ := admit("192.0.2.1:1")
	second, _ := admit("192.0.2.1:2")
	third, evicted := admit("192.0.2.1:3")
	if third == nil || evicted != first {
		t.Fatalf("at the limit of an address: admitted %v, evicted %v; want the first one evicted", third, evicted)
	}
	c.observe(second, http.StateActive)
	c.observe(third, http.StateActive)
	if refused, evicted := admit("192.0.2.1:4"); refused != nil || evicted != nil {
		t.Error("a connection was admitted although the address has no idle connection")
	}
	other, _ := admit("192.0.2.2:1")
	another, evicted := admit("192.0.2.3:1")
	if other == nil || another == nil || evicted != other {
		t.Error("at the total limit, the connection idle longest must be evicted")
	}
	c.observe(second, http.StateIdle)
	if _, evicted = admit("192.0.2.4:1"); evicted != another {
		t.Error("evicted a connection that became idle later")
	}
	if _, evicted = admit("192.0.2.5:1"); evicted != second {
		t.Error("a connection that is idle again must be evicted in its turn")
	}
	for conn := range map[*connection]bool{first: true, second: true, third: true, other: true, another: true} {
		_ = conn.Close()
		_ = conn.Close()
	}
	if c.all != 2 || len(c.by) != 2 || c.idle.Len() != 2 {
		t.Errorf("%d connections, %d addresses, %d idle; want two of each", c.all, len(c.by), c.idle.Len())
	}
}

func TestOneClientIsOneNetworkAndAProxyIsExempt(t *testing.T) {
	c := newConnections(10, 1, []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")})
	for from, alone := range map[string]bool{"[2001:db8::%d]:1": false, "[::ffff:192.0.2.1]:%d": false, "198.51.100.1:%d": true} {
		one, _ := c.admit(&wire{from: fmt.Sprintf(from, 1)})
		_, evicted := c.admit(&wire{from: fmt.Sprintf(from, 2)})
		if one == nil || (evicted == nil) != alone {
			t.Errorf("%s: evicted %v", from, evicted)
		}
	}
}

// The server reports its outermost connection: under TLS, and behind a PROXY header.
func TestConnectionsAreKnownUnderTLSAndBehindAProxy(t *testing.T) {
	for name, wrap := range map[string]func(net.Conn) net.Conn{
		"TLS":                    func(conn net.Conn) net.Conn { return tls.Server(conn, &tls.Config{}) },
		"a PROXY header":         func(conn net.Conn) net.Conn { return proxyproto.NewConn(conn) },
		"a PROXY header and TLS": func(conn net.Conn) net.Conn { return tls.Server(proxyproto.NewConn(conn), &tls.Config{}) },
	} {
		c := newConnections(10, 1, nil)
		served, _ := c.admit(&wire{from: "192.0.2.1:1"})
		c.observe(wrap(served), http.StateActive)
		if other, evicted := c.admit(&wire{from: "192.0.2.1:2"}); other != nil || evicted != nil {
			t.Errorf("under %s, an active connection was evicted", name)
		}
	}
}
