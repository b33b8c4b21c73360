package load

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/acmeca/acmeca/internal/test/acmeclient"
	"github.com/acmeca/acmeca/internal/test/http01"
)

// Target is the measured server.
type Target struct {
	Directory string
	// Directories are used by the clients in turn; empty for the directory above.
	Directories []string
	Roots       *x509.CertPool
	Responder   *http01.Responder
	// Poll is the time before the first retry of a poll.
	Poll time.Duration
	// Timeout bounds a request.
	Timeout time.Duration
	// Service has the replicas that get requests in turn, regardless of the URLs' hosts; nil to use the URLs' hosts.
	Service *Service
	// Registered runs after the registration of each account; nil for none.
	Registered func(ctx context.Context, account string) error
}

// directoryOf returns the directory of the client with a number.
func (t Target) directoryOf(number int) string {
	if len(t.Directories) == 0 {
		return t.Directory
	}
	return t.Directories[number%len(t.Directories)]
}

// Register registers an account for the client with a number.
func (t Target) Register(ctx context.Context, number int) (*acmeclient.Client, error) {
	c, err := acmeclient.New(ctx, t.httpClient(), t.directoryOf(number), t.Responder, t.Poll)
	if err == nil && t.Registered != nil {
		err = t.Registered(ctx, c.URL())
	}
	return c, err
}

// ReadRoots reads the roots of a TLS certificate from a PEM file.
func ReadRoots(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return roots, nil
}

// httpClient returns a client with its own connections to each replica.
func (t Target) httpClient() *http.Client {
	return &http.Client{Timeout: cmp.Or(t.Timeout, time.Minute), Transport: &balancer{target: t, transports: map[string]http.RoundTripper{}}}
}

// Service is the set of replicas that are ready, like a Service of Kubernetes.
type Service struct {
	mu        sync.Mutex
	addresses []string
	next      int
}

// NewService returns a Service of replicas.
func NewService(addresses ...string) *Service { return &Service{addresses: addresses} }

// Add adds a replica.
func (s *Service) Add(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addresses = append(s.addresses, address)
}

// Remove removes a replica. Requests that it has already received continue.
func (s *Service) Remove(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addresses = slices.DeleteFunc(s.addresses, func(a string) bool { return a == address })
}

// size returns the number of replicas.
func (s *Service) size() int {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.addresses)
}

// choose returns the next replica; "" for the host of the URL.
func (s *Service) choose() (string, error) {
	if s == nil {
		return "", nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.addresses) == 0 {
		return "", errors.New("no replica is ready")
	}
	s.next++
	return s.addresses[s.next%len(s.addresses)], nil
}

// balancer sends each request to the next replica. It belongs to one client, which sends one request at a time.
type balancer struct {
	target     Target
	transports map[string]http.RoundTripper // by replica
}

// RoundTrip implements http.RoundTripper.
func (b *balancer) RoundTrip(request *http.Request) (*http.Response, error) {
	address, err := b.target.Service.choose()
	if err != nil {
		return nil, err
	}
	transport := b.transports[address]
	if transport == nil {
		transport = b.target.transport(address)
		b.transports[address] = transport
	}
	return transport.RoundTrip(request)
}

func (t Target) transport(address string) http.RoundTripper {
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: t.Roots}, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 4}
	if address != "" {
		tr.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}
	}
	return tr
}
