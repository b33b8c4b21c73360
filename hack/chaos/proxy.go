package main

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A proxy forwards connections of a half to the API server. It can cut and delay them.
type proxy struct {
	listener net.Listener
	target   func() string
	delay    atomic.Int64 // for each chunk, in either direction
	closed   atomic.Bool  // whether new connections are refused

	mu   sync.Mutex
	open map[net.Conn]struct{}
}

func newProxy(target func() string) (*proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: listener, target: target, open: map[net.Conn]struct{}{}}
	go p.serve()
	return p, nil
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) serve() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return // the proxy was stopped
		}
		go p.connect(conn)
	}
}

func (p *proxy) connect(from net.Conn) {
	if p.closed.Load() {
		_ = from.Close()
		return
	}
	to, err := net.Dial("tcp", p.target())
	if err != nil {
		_ = from.Close()
		return
	}
	p.mu.Lock()
	p.open[from], p.open[to] = struct{}{}, struct{}{}
	p.mu.Unlock()
	end := func() {
		_, _ = from.Close(), to.Close()
		p.mu.Lock()
		delete(p.open, from)
		delete(p.open, to)
		p.mu.Unlock()
	}
	go func() { p.pass(from, to); end() }()
	p.pass(to, from)
	end()
}

func (p *proxy) pass(from, to net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if delay := p.delay.Load(); delay > 0 {
			time.Sleep(time.Duration(delay))
		}
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// cut closes all connections, even in the middle of a message.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.open {
		_ = conn.Close()
	}
}

func (p *proxy) stop() {
	_ = p.listener.Close()
	p.cut()
}
