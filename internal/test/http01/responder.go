// Package http01 is the side of the http-01 challenge that a client has to provide (RFC 8555 section 8.3), for tests.
package http01

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

const prefix = "/.well-known/acme-challenge/"

// A Responder serves key authorizations over HTTP on loopback. It is a solver of acmez, too.
type Responder struct {
	server *http.Server

	mu        sync.Mutex
	responses map[string]string // by token
}

// Start starts a responder on a port of 127.0.0.1.
func Start(port int) (*Responder, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	r := &Responder{responses: map[string]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+prefix+"{token}", r.serve)
	r.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = r.server.Serve(listener) }() // ends by Stop
	return r, nil
}

// Stop frees the port.
func (r *Responder) Stop() { _ = r.server.Close() }

func (r *Responder) serve(w http.ResponseWriter, request *http.Request) {
	r.mu.Lock()
	response, ok := r.responses[request.PathValue("token")]
	r.mu.Unlock()
	if !ok {
		http.NotFound(w, request)
		return
	}
	fmt.Fprint(w, response)
}

// Put has a token answered with its key authorization.
func (r *Responder) Put(token, keyAuthorization string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.responses[token] = keyAuthorization
}

// Present prepares for a challenge.
func (r *Responder) Present(_ context.Context, challenge acme.Challenge) error {
	r.Put(challenge.Token, challenge.KeyAuthorization)
	return nil
}

// CleanUp forgets a challenge.
func (r *Responder) CleanUp(_ context.Context, challenge acme.Challenge) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.responses, challenge.Token)
	return nil
}
