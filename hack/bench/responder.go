package main

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
)

// responder answers http-01 challenges of all clients. An answer is fetched once and then dropped: what is measured is
// issuance without failures.
type responder struct{ answers sync.Map }

func (r *responder) set(token, answer string) { r.answers.Store(token, answer) }

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
	answer, ok := r.answers.LoadAndDelete(strings.TrimPrefix(request.URL.Path, "/.well-known/acme-challenge/"))
	if !ok {
		http.NotFound(w, request)
		return
	}
	fmt.Fprint(w, answer)
}
