package acmeserver

import (
	"bytes"
	"io"
	"net/http"
	"sync"
)

// Defaults of Options.MaxRequests and Options.MaxRequestsPerClient. A client that waits for a state takes a place too.
const (
	DefaultMaxRequests          = 4096
	DefaultMaxRequestsPerClient = 1024
)

// places bound what is under way at once: in all, and for each client, so that one can't take all of them.
type places struct {
	max, perClient int

	mu    sync.Mutex
	taken int
	by    map[string]int
}

func newPlaces(limit, perClient int) *places {
	return &places{max: limit, perClient: perClient, by: map[string]int{}}
}

// take gives a place to a client, which is to be left; false where there is none.
func (p *places) take(client string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken >= p.max || p.by[client] >= p.perClient {
		return false
	}
	p.taken++
	p.by[client]++
	return true
}

func (p *places) leave(client string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	if p.by[client]--; p.by[client] == 0 {
		delete(p.by, client)
	}
}

// bounded serves no more requests at once than there are places. Overload is 503 with Retry-After, which every client takes
// for what it is; 429 is for limits that an issuer sets. Bodies are read before a place is taken, in places of their own, so
// that who sends slowly keeps nobody from being served.
func (s *Server) bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client := originOf(clientAddress(r.RemoteAddr, r.Header.Values("X-Forwarded-For"), s.trustedProxies))
		if !s.readAhead(client, r) || !s.serving.take(client) {
			begun, result := s.metrics.overload.begin(), fail(r.Context(), overloaded())
			allowBrowsers(w.Header())
			w.Header().Set("Replay-Nonce", s.nonces.New(s.positions().note())) // costs little, and saves the client a request
			result.write(w)
			s.metrics.overload.end(begun, result)
			return
		}
		defer s.serving.leave(client)
		next.ServeHTTP(w, r)
	})
}

// readAhead reads the body of a request into memory; false where there is no place for that. What is too large for readBody
// isn't read to its end.
func (s *Server) readAhead(client string, r *http.Request) bool {
	if r.ContentLength == 0 || r.ContentLength > maxBody {
		return true
	}
	if !s.reading.take(client) {
		return false
	}
	defer s.reading.leave(client)
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), failingReader{err}))
	return true
}

// failingReader fails where reading ahead did.
type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) {
	if f.err == nil {
		return 0, io.EOF
	}
	return 0, f.err
}
