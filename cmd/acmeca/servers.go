package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
)

// servers are HTTP servers that listen.
type servers struct {
	all   []*http.Server
	ended chan error // has room for the end of each
}

// maxServers is how many are added at most.
const maxServers = 2

func newServers() *servers { return &servers{ended: make(chan error, maxServers)} }

// add has a server listen. With a TLSConfig it serves TLS alone.
func (s *servers) add(server *http.Server, address string, bound func(*http.Server, net.Listener) net.Listener) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	listener = bound(server, listener)
	if server.TLSConfig != nil {
		listener = tls.NewListener(listener, server.TLSConfig)
	}
	s.all = append(s.all, server)
	go func() { s.ended <- server.Serve(listener) }()
	return nil
}

// unbound is for a server whose connections are bounded otherwise.
func unbound(_ *http.Server, inner net.Listener) net.Listener { return inner }

// shutdown ends the servers once they have answered what they were asked.
func (s *servers) shutdown(ctx context.Context) error {
	var errs []error
	for _, server := range s.all {
		errs = append(errs, server.Shutdown(ctx))
	}
	return errors.Join(errs...)
}

func (s *servers) close() {
	for _, server := range s.all {
		_ = server.Close() // it has answered, or is late
	}
}
