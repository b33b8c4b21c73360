package network

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"sync"
	"time"
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
	// silent are the name servers that did not answer, with the time of the failure.
	silent map[netip.Addr]time.Time
}

const (
	// silence is how long a name server that did not answer is not asked again: in a network without direct access to name
	// servers it costs each attempt a timeout.
	silence = 5 * time.Minute
	// maxSilent bounds the name servers that are remembered.
	maxSilent = 1024
)

// unreachable reports whether a name server did not answer a short time ago.
func (h *Hosts) unreachable(addr netip.Addr, now time.Time) bool {
	if h == nil {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	since, ok := h.silent[addr]
	return ok && now.Sub(since) < silence
}

// setUnreachable remembers that a name server did not answer.
func (h *Hosts) setUnreachable(addr netip.Addr, now time.Time) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.silent == nil || len(h.silent) >= maxSilent {
		h.silent = map[netip.Addr]time.Time{}
	}
	h.silent[addr] = now
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
