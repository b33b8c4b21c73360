package main

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
)

// responder answers http-01 challenges of all clients.
type responder struct{ answers sync.Map }

func (r *responder) set(token, answer string) { r.answers.Store(token, answer) }
func (r *responder) drop(token string)        { r.answers.Delete(token) }

// serve answers on a port of loopback until the returned server is closed.
func (r *responder) serve(port int) (*http.Server, error) {
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: r}
	go server.Serve(listener) //nolint:errcheck // ends by Close
	return server, nil
}

func (r *responder) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	answer, ok := r.answers.Load(strings.TrimPrefix(request.URL.Path, "/.well-known/acme-challenge/"))
	if !ok {
		http.NotFound(w, request)
		return
	}
	fmt.Fprint(w, answer)
}
