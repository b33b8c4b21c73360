package network

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"sync"
)

// DefaultPerHost is the default of NewHosts. It exceeds pool.DefaultPerAccount, so that no account alone can occupy all slots of an
// address that several accounts share, such as the address of an ingress.
const DefaultPerHost = 64

// Hosts bounds the connections to each address, across all validators that share it. The bound of a Pool on each name does not
// suffice: a client can direct a thousand names, or redirects, at one machine.
type Hosts struct {
	limit int

	mu     sync.Mutex
	byAddr map[netip.Addr]*host
}

// host is an address with connections or waiting attempts.
type host struct {
	slots chan struct{}
	// users is the number of connections and waiting attempts.
	users int
}

// NewHosts returns Hosts with a bound of perHost connections to each address; zero or less means DefaultPerHost.
func NewHosts(perHost int) *Hosts {
	return &Hosts{limit: cmp.Or(max(perHost, 0), DefaultPerHost), byAddr: map[netip.Addr]*host{}}
}

// Acquire reserves a slot at an address, or returns false if ctx ends first. The caller must call release once the connection is
// closed. A nil Hosts has no bound.
func (h *Hosts) Acquire(ctx context.Context, addr netip.Addr) (release func(), ok bool) {
	if h == nil {
		return func() {}, true
	}
	at := h.use(addr)
	select {
	case at.slots <- struct{}{}:
		return sync.OnceFunc(func() {
			<-at.slots
			h.drop(addr)
		}), true
	case <-ctx.Done():
		h.drop(addr)
		return nil, false
	}
}

func (h *Hosts) use(addr netip.Addr) *host {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := h.byAddr[addr]
	if at == nil {
		at = &host{slots: make(chan struct{}, h.limit)}
		h.byAddr[addr] = at
	}
	at.users++
	return at
}

func (h *Hosts) drop(addr netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := h.byAddr[addr]
	if at.users--; at.users == 0 {
		delete(h.byAddr, addr)
	}
}

// HostConn releases its slot when it is closed.
type HostConn struct {
	net.Conn
	Release func()
}

// Close implements net.Conn.
func (c HostConn) Close() error {
	defer c.Release()
	return c.Conn.Close()
}
