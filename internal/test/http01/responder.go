// Package http01 is the client's side of the http-01 challenge (RFC 8555 section 8.3), for tests.
package http01

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

// Responder serves key authorizations over HTTP on loopback, also as a solver of acmez. It is safe for concurrent use.
type Responder struct {
	// Once forgets a key authorization after the first request, which bounds the memory of long measurements.
	Once bool

	server  *http.Server
	answers sync.Map // by token
}

// Start starts a responder on a port of 127.0.0.1.
func Start(port int) (*Responder, error) {
	r := &Responder{}
	if err := r.Listen(port); err != nil {
		return nil, err
	}
	return r, nil
}

// Listen serves on a port of 127.0.0.1 until Stop.
func (r *Responder) Listen(port int) error {
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return err
	}
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: 5 * time.Second}
	r.server.SetKeepAlivesEnabled(false)         // a CA keeps a connection for each name open, and asks once
	go func() { _ = r.server.Serve(listener) }() // ended by Stop
	return nil
}

// Stop frees the port.
func (r *Responder) Stop() { _ = r.server.Close() }

// ServeHTTP serves the key authorizations, for programs with a server of their own.
func (r *Responder) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	token, found := strings.CutPrefix(request.URL.Path, "/.well-known/acme-challenge/")
	if !found || request.Method != http.MethodGet {
		http.NotFound(w, request)
		return
	}
	load := r.answers.Load
	if r.Once {
		load = r.answers.LoadAndDelete
	}
	answer, ok := load(token)
	if !ok {
		http.NotFound(w, request)
		return
	}
	fmt.Fprint(w, answer)
}

// Put sets the answer for a token, normally its key authorization.
func (r *Responder) Put(token, answer string) { r.answers.Store(token, answer) }

// Present implements acmez.Solver.
func (r *Responder) Present(_ context.Context, challenge acme.Challenge) error {
	r.Put(challenge.Token, challenge.KeyAuthorization)
	return nil
}

// CleanUp implements acmez.Solver.
func (r *Responder) CleanUp(_ context.Context, challenge acme.Challenge) error {
	r.answers.Delete(challenge.Token)
	return nil
}
