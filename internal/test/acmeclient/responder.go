package acmeclient

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
)

// Responder answers http-01 challenges of all clients.
type Responder struct {
	// Keep has an answer fetched as often as it is asked for. Else it is dropped once it was fetched: what is measured is
	// issuance without failures.
	Keep    bool
	answers sync.Map
}

func (r *Responder) set(token, answer string) { r.answers.Store(token, answer) }

// Serve answers on a port of loopback until the returned server is closed.
func (r *Responder) Serve(port int) (*http.Server, error) {
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: r}
	go server.Serve(listener) //nolint:errcheck // ends by Close
	return server, nil
}

// ServeHTTP implements http.Handler.
func (r *Responder) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	take := r.answers.LoadAndDelete
	if r.Keep {
		take = r.answers.Load
	}
	answer, ok := take(strings.TrimPrefix(request.URL.Path, "/.well-known/acme-challenge/"))
	if !ok {
		http.NotFound(w, request)
		return
	}
	fmt.Fprint(w, answer)
}
