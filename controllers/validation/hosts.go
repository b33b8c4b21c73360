package validation

import (
	"context"
	"net"
	"net/netip"
	"sync"
)

// DefaultPerHost is how many connections validation has open to one address at once. It is more than one account may
// have attempts running, so that no account alone takes all the places at an address that it shares with others, such
// as that of an ingress.
const DefaultPerHost = 2 * DefaultPerAccount

// Hosts bounds the connections to each address, over all the validators that share it: names are free, so that the
// bound of a Pool on each name keeps nobody from aiming a thousand of them, or redirects, at one machine.
type Hosts struct {
	limit int

	mu     sync.Mutex
	byAddr map[netip.Addr]*host
}

// host is an address that someone is connected to, or waits for.
type host struct {
	places chan struct{}
	users  int
}

// NewHosts makes a bound of so many connections to each address; zero or less stands for the default.
func NewHosts(perHost int) *Hosts {
	return &Hosts{limit: positive(perHost, DefaultPerHost), byAddr: map[netip.Addr]*host{}}
}

// enter waits for a place at an address until ctx ends. It gives what returns the place. A nil Hosts has room for all.
func (h *Hosts) enter(ctx context.Context, addr netip.Addr) (leave func(), ok bool) {
	if h == nil {
		return func() {}, true
	}
	at := h.use(addr)
	select {
	case at.places <- struct{}{}:
		return sync.OnceFunc(func() {
			<-at.places
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
		at = &host{places: make(chan struct{}, h.limit)}
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

// boundConn returns its place when it is closed, which every connection is at the end of its attempt at the latest.
type boundConn struct {
	net.Conn
	leave func()
}

func (c boundConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
