package matrix

import (
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/acmeca/acmeca/internal/test/freeport"
)

const challengePath = "/.well-known/acme-challenge/"

// front is the web server that acmeca validates http-01 at. It forwards a request to the client that obtains a certificate
// for the host, so that clients run side by side.
type front struct {
	port   int
	server *http.Server

	mu    sync.Mutex
	hosts map[string]*host
}

// host answers the challenges of one name.
type host struct {
	handler http.Handler
	delay   time.Duration // from the first attempt, during which attempts get 503

	mu    sync.Mutex
	first time.Time
	paths map[string]bool // of the challenges
}

func startFront() (*front, error) {
	f := &front{hosts: map[string]*host{}}
	if err := freeport.Choose(&f.port); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", loopback(f.port))
	if err != nil {
		return nil, err
	}
	f.server = &http.Server{Handler: f, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = f.server.Serve(listener) }() // ends by stop
	return f, nil
}

func (f *front) stop() { _ = f.server.Close() }

// ServeHTTP forwards a request by its host.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		name = r.Host
	}
	f.mu.Lock()
	h := f.hosts[name]
	f.mu.Unlock()
	switch {
	case h == nil:
		http.NotFound(w, r)
		return
	case h.early(r.URL.Path):
		// 404 would end the challenge: acmeca repeats attempts that fail for a reason that may pass.
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	h.handler.ServeHTTP(w, r)
}

// early notes the path of an attempt and reports whether it is one that fails.
func (h *host) early(path string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.paths == nil {
		h.paths = map[string]bool{}
	}
	h.paths[path] = true
	if h.first.IsZero() {
		h.first = time.Now()
	}
	return time.Since(h.first) < h.delay
}

// challenges returns how many challenges acmeca asked for. It asks again for one that a client gave up, so attempts don't count.
func (h *host) challenges() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.paths)
}

// add routes a name to a directory that has the tokens as files, if there are any, and else to a port of loopback.
func (f *front) add(name, directory string, port int, delay time.Duration) *host {
	files := http.StripPrefix(challengePath, http.FileServer(http.Dir(directory)))
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: loopback(port)})
		r.Out.Host = name
	}}
	proxy.ErrorHandler = func(w http.ResponseWriter, r *http.Request, _ error) { http.NotFound(w, r) }
	h := &host{delay: delay, handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token, isChallenge := cutToken(r.URL.Path); isChallenge {
			if file, err := http.Dir(directory).Open(token); err == nil {
				_ = file.Close()
				files.ServeHTTP(w, r)
				return
			}
		}
		proxy.ServeHTTP(w, r)
	})}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hosts[name] = h
	return h
}

func cutToken(path string) (token string, ok bool) {
	if len(path) <= len(challengePath) || path[:len(challengePath)] != challengePath {
		return "", false
	}
	return path[len(challengePath):], true
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// accepts waits until a port takes connections.
func accepts(ctx context.Context, port int) error {
	for {
		conn, err := net.DialTimeout("tcp", loopback(port), time.Second)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}
