package acmeserver

import (
	"fmt"
	"io"
	"net/http"
	"runtime/debug"

	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/acmeca/acmeca/acmeserver/answer"
	"github.com/acmeca/acmeca/acmeserver/limit"
	"github.com/acmeca/acmeca/api/acme"
)

// Defaults of Options.MaxRequests and Options.MaxRequestsPerClient. A client that waits for a state uses a slot too.
const (
	DefaultMaxRequests          = 4096
	DefaultMaxRequestsPerClient = 1024
)

// limitRequests bounds the requests in flight, and the memory of their bodies. Bodies are read before a request gets its
// slot, in slots of their own, so that slow senders do not keep others from being served.
func (s *Server) limitRequests(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client := s.clientOf(r)
		held, ok := s.bufferBody(client, r)
		defer s.bodyBytes.Release(client, held)
		if !ok || !s.requests.Acquire(client) {
			s.sendUnrouted(w, &call{Request: r}, s.metrics.Overload, answer.Fail(r.Context(), answer.Overloaded()))
			return
		}
		defer s.requests.Release(client)
		next.ServeHTTP(w, r)
	})
}

// clientOf returns the key by which the sender of a request is counted.
func (s *Server) clientOf(r *http.Request) string {
	return limit.Origin(limit.ClientAddress(r.RemoteAddr, r.Header.Values("X-Forwarded-For"), s.trustedProxies))
}

// failingReader returns the error with which reading the body ended.
type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) {
	if f.err == nil {
		return 0, io.EOF
	}
	return 0, f.err
}

// recoverPanics answers with 500 if a handler panics, so that the client gets a nonce for its next request.
func (s *Server) recoverPanics(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if v == http.ErrAbortHandler { //nolint:errorlint // net/http compares this very value
				panic(v)
			}
			logf.FromContext(r.Context()).Error(fmt.Errorf("panic: %v", v), "request failed", "stack", string(debug.Stack()))
			problem := acme.NewProblem(acme.ServerInternal, "the server failed to process this request").WithStatus(http.StatusInternalServerError)
			s.sendUnrouted(w, &call{Request: r}, s.metrics.Other, answer.Fail(r.Context(), problem))
		}()
		next.ServeHTTP(w, r)
	})
}
