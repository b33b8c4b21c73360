package replicas

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/acmeca/acmeca/internal/test/local"
)

// balancer is a Service in front of the ACME server with the worst behaviour: each request goes to another replica
// than the request before. The balancer ends TLS with the ACME server's own certificate, and removes replicas that
// are not ready, as Kubernetes does.
type balancer struct {
	server    *http.Server
	transport *http.Transport

	mu       sync.Mutex
	replicas []*local.Replica // the ready ones
	next     int
	answers  int
	refusals map[string]int // by status and type of problem
	posts    [][]byte       // a sample of sent requests
}

func balance(port int, tlsDir string) (*balancer, error) {
	b := &balancer{refusals: map[string]int{}, transport: &http.Transport{
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the client's check is that of the balancer's certificate, which is the same one
		MaxIdleConnsPerHost: 64,
	}}
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	proxy := &httputil.ReverseProxy{
		Transport: b.transport, ErrorLog: log.New(io.Discard, "", 0), ModifyResponse: b.count,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL, r.Out.Host = r.In.URL, r.In.Host
			r.Out.URL.Scheme, r.Out.URL.Host = "https", b.choose()
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			b.note("502 " + err.Error())
			w.WriteHeader(http.StatusBadGateway)
		},
	}
	b.server = &http.Server{Handler: b.keep(proxy), ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute, TLSConfig: &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(filepath.Join(tlsDir, "tls.crt"), filepath.Join(tlsDir, "tls.key"))
			return &pair, err
		},
	}}
	go func() { _ = b.server.ServeTLS(listener, "", "") }() // ended by close
	return b, nil
}

func (b *balancer) close() {
	_ = b.server.Close()
	b.transport.CloseIdleConnections()
}

// add sends requests to a replica while it is ready.
func (b *balancer) add(ctx context.Context, r *local.Replica) {
	b.mu.Lock()
	b.replicas = append(b.replicas, r)
	b.mu.Unlock()
	go func() {
		for ctx.Err() == nil {
			ready := r.Ready(ctx)
			b.mu.Lock()
			there := slices.Contains(b.replicas, r)
			switch {
			case ready && !there:
				b.replicas = append(b.replicas, r)
			case !ready && there:
				b.replicas = slices.DeleteFunc(b.replicas, func(o *local.Replica) bool { return o == r })
			}
			b.mu.Unlock()
			time.Sleep(50 * time.Millisecond)
		}
	}()
}

// serving returns the ready replicas.
func (b *balancer) serving() []*local.Replica {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.replicas)
}

// latest returns the last signed requests.
func (b *balancer) latest(n int) [][]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.posts[len(b.posts)-n:])
}

// choose returns the next replica.
func (b *balancer) choose() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.replicas) == 0 {
		return "127.0.0.1:1"
	}
	b.next++
	return b.replicas[b.next%len(b.replicas)].Address
}

// keep stores the last signed requests for a replay.
func (b *balancer) keep(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			b.mu.Lock()
			b.posts = append(b.posts[max(0, len(b.posts)-20):], append([]byte(r.URL.Path+"\n"), body...))
			b.mu.Unlock()
		}
		next.ServeHTTP(w, r)
	})
}

// count counts refusals.
func (b *balancer) count(response *http.Response) error {
	b.mu.Lock()
	b.answers++
	b.mu.Unlock()
	if response.StatusCode < 400 {
		return nil
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	var problem struct{ Type, Detail string }
	_ = json.Unmarshal(body, &problem) // other bodies have no type
	b.note(fmt.Sprintf("%d %s: %s at %s", response.StatusCode, problem.Type, problem.Detail, resource(response.Request.URL)))
	return nil
}

// resource returns the kind of resource in a path, without names of objects.
func resource(u *url.URL) string {
	directory, file := filepath.Split(u.Path)
	if filepath.Base(directory) == "acme" {
		return file
	}
	return filepath.Base(directory)
}

func (b *balancer) note(refusal string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refusals[refusal]++
}

// forget resets the counts.
func (b *balancer) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answers, b.refusals = 0, map[string]int{}
}

// counted returns the number of answers, and the refusals.
func (b *balancer) counted() (answers int, refusals map[string]int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	copied := map[string]int{}
	for refusal, n := range b.refusals {
		copied[refusal] = n
	}
	return b.answers, copied
}

// replay sends an earlier request to one replica, and returns the answer's status and type of problem.
func (b *balancer) replay(ctx context.Context, r *local.Replica, post []byte) (int, string, error) {
	path, body, found := bytes.Cut(post, []byte("\n"))
	if !found {
		return 0, "", errors.New("no path")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+r.Address+string(path), bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Content-Type", "application/jose+json")
	response, err := b.transport.RoundTrip(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	var problem struct{ Type string }
	err = json.NewDecoder(response.Body).Decode(&problem)
	return response.StatusCode, problem.Type, err
}
