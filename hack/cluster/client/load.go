package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/acmeca/acmeca/internal/test/acmeclient"
	"github.com/acmeca/acmeca/internal/test/http01"
)

// issueTimeout is the time that a client waits for a certificate, with all retries.
const issueTimeout = 2 * time.Minute

type options struct {
	directory, roots, domain, name string
	workers, count                 int
}

func load(args []string) error {
	var o options
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	flags.StringVar(&o.directory, "directory", "https://acmeca.acmeca-system.svc/acme/directory", "URL of the ACME directory")
	flags.StringVar(&o.roots, "roots", "/roots/ca.crt", "file with the roots that the ACME server's certificate chains to")
	flags.StringVar(&o.domain, "domain", "corp.example", "domain of the new names")
	flags.StringVar(&o.name, "name", "", "a name for all certificates, instead of new ones")
	flags.IntVar(&o.workers, "workers", 1, "number of workers")
	flags.IntVar(&o.count, "n", 0, "number of certificates of each worker; 0 is no limit")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	l := &loader{options: o, responder: &http01.Responder{}}
	mux := http.NewServeMux()
	mux.Handle("/.well-known/acme-challenge/", l.responder)
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(l.stats()) })
	server := &http.Server{Addr: ":8080", Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	done := make(chan struct{})
	go func() {
		defer close(done)
		var workers sync.WaitGroup
		for worker := range o.workers {
			workers.Go(func() { l.work(ctx, worker) })
		}
		workers.Wait()
	}()
	select {
	case err := <-failed:
		return err
	case <-done:
	}
	s := l.stats()
	text, err := json.Marshal(s)
	fmt.Println(string(text))
	if s.Failed > 0 {
		err = errors.Join(err, fmt.Errorf("%d certificates failed", s.Failed))
	}
	return err
}

// Stats are the results since the start. Times are in milliseconds.
type Stats struct {
	Issued, Failed   int
	Failures         []string // the first ones
	Median, P95, Max int64
	Serials          []string // of the issued certificates, the newest last
}

type loader struct {
	options
	responder *http01.Responder

	mu      sync.Mutex
	results Stats
	took    []time.Duration
}

func (l *loader) stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.results
	s.Serials, s.Failures = slices.Clone(s.Serials), slices.Clone(s.Failures)
	if sorted := slices.Sorted(slices.Values(l.took)); len(sorted) > 0 {
		at := func(percent int) int64 { return sorted[(len(sorted)-1)*percent/100].Milliseconds() }
		s.Median, s.P95, s.Max = at(50), at(95), at(100)
	}
	return s
}

func (l *loader) work(ctx context.Context, worker int) {
	var client *acmeclient.Client
	for i := 0; ctx.Err() == nil && (l.count == 0 || i < l.count); i++ {
		start := time.Now()
		cert, err := l.issue(ctx, &client, fmt.Sprintf("w%d-%d-%d.%s", worker, i, start.UnixNano(), l.domain))
		if ctx.Err() != nil {
			return
		}
		l.record(cert, err, time.Since(start))
	}
}

func (l *loader) record(cert *x509.Certificate, err error, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.results.Failed++
		if len(l.results.Failures) < 20 {
			l.results.Failures = append(l.results.Failures, time.Now().UTC().Format(time.TimeOnly)+" "+err.Error())
		}
		return
	}
	l.results.Issued++
	l.results.Serials = append(l.results.Serials, fmt.Sprintf("%x", cert.SerialNumber))
	l.took = append(l.took, took)
}

// issue obtains a certificate over new connections. The first call of a worker registers its account.
func (l *loader) issue(ctx context.Context, client **acmeclient.Client, name string) (*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, issueTimeout)
	defer cancel()
	if l.name != "" {
		name = l.name
	}
	roots := x509.NewCertPool()
	text, err := os.ReadFile(l.roots)
	if err != nil {
		return nil, err
	}
	roots.AppendCertsFromPEM(text)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	h := &http.Client{Transport: transport, Timeout: 30 * time.Second}
	if *client == nil {
		registering := acmeclient.NewPersistent(h, l.responder, 100*time.Millisecond)
		if err := registering.Register(ctx, l.directory); err != nil {
			return nil, fmt.Errorf("registering: %w", err)
		}
		*client = registering
	}
	(*client).HTTP = h
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := (*client).Issue(ctx, key, name)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	if err := cert.VerifyHostname(name); err != nil {
		return nil, err
	}
	return cert, nil
}
