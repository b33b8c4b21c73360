package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/acmeca/acmeca/internal/test/acmeclient"
	"github.com/acmeca/acmeca/internal/test/http01"
)

// target is the measured server.
type target struct {
	directory string
	// directories are used by the clients in turn; empty for the directory above.
	directories []string
	roots       *x509.CertPool
	responder   *http01.Responder
	poll        time.Duration
	// addresses are the replicas that get requests in turn, regardless of the URLs' hosts; empty to use the URLs'
	// hosts.
	addresses []string
}

// directoryOf returns the directory of the client with a number.
func (t target) directoryOf(number int) string {
	if len(t.directories) == 0 {
		return t.directory
	}
	return t.directories[number%len(t.directories)]
}

// register registers an account for the client with a number.
func (t target) register(ctx context.Context, number int) (*acmeclient.Client, error) {
	return acmeclient.New(ctx, t.httpClient(), t.directoryOf(number), t.responder, t.poll)
}

func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil // the system's roots
	}
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

// httpClient returns a client with one connection to each replica.
func (t target) httpClient() *http.Client {
	transport := func(address string) http.RoundTripper {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: t.roots}, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 4}
		if address != "" {
			tr.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, address)
			}
		}
		return tr
	}
	turns := &inTurn{}
	for _, address := range t.addresses {
		turns.all = append(turns.all, transport(address))
	}
	if len(turns.all) == 0 {
		turns.all = []http.RoundTripper{transport("")}
	}
	return &http.Client{Timeout: time.Minute, Transport: turns}
}

// inTurn sends each request over the next transport.
type inTurn struct {
	all  []http.RoundTripper
	next atomic.Uint64
}

func (t *inTurn) RoundTrip(request *http.Request) (*http.Response, error) {
	if len(t.all) == 0 {
		return nil, errors.New("there is no transport to the server")
	}
	return t.all[t.next.Add(1)%uint64(len(t.all))].RoundTrip(request)
}
