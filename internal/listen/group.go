package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
)

// Group is a set of HTTP servers that start, stop and fail together. Add is not safe for concurrent use.
type Group struct {
	servers []*http.Server
	ended   chan error // buffered, so that no server blocks when it ends
}

// maxServers is the number of servers that a Group can have.
const maxServers = 2

// NewGroup returns an empty Group.
func NewGroup() *Group { return &Group{ended: make(chan error, maxServers)} }

// Add starts a server on a TCP address. It serves only TLS if the server has a TLSConfig. A nil limits means no limit on connections.
func (g *Group) Add(server *http.Server, address string, limits *Limits) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	if limits != nil {
		listener = limits.Apply(server, listener)
	}
	if server.TLSConfig != nil {
		listener = tls.NewListener(listener, server.TLSConfig)
	}
	g.servers = append(g.servers, server)
	go func() { g.ended <- server.Serve(listener) }()
	return nil
}

// Ended receives the error of each server that stops serving.
func (g *Group) Ended() <-chan error { return g.ended }

// Shutdown stops the servers after they have answered the requests in flight, or when ctx ends.
func (g *Group) Shutdown(ctx context.Context) error {
	var errs []error
	for _, server := range g.servers {
		errs = append(errs, server.Shutdown(ctx))
	}
	return errors.Join(errs...)
}

// Close closes all connections at once.
func (g *Group) Close() {
	for _, server := range g.servers {
		_ = server.Close() // requests still in flight had their time in Shutdown
	}
}
