package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// A flooder attacks an ACME server: half of its workers send floods of requests, half hold slow ones.
type flooder struct {
	directory, host string
	tls             *tls.Config

	mu      sync.Mutex
	answers map[string]int
}

// flood attacks for a while and prints the number of answers by kind and status.
func flood(args []string) error {
	flags := flag.NewFlagSet("flood", flag.ContinueOnError)
	directory := flags.String("directory", "https://acmeca.acmeca-system.svc/acme/directory", "URL of the ACME directory")
	rootsFile := flags.String("roots", "/roots/ca.crt", "file with the roots that the ACME server's certificate chains to")
	length := flags.Duration("for", time.Minute, "length of the attack")
	workers := flags.Int("workers", 64, "number of workers that send requests without pause")
	slow := flags.Int("slow", 500, "number of connections that send bodies slowly")
	if err := flags.Parse(args); err != nil {
		return err
	}
	text, err := os.ReadFile(*rootsFile)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	host, _, _ := strings.Cut(strings.TrimPrefix(*directory, "https://"), "/")
	f := &flooder{directory: *directory, host: host, tls: &tls.Config{RootCAs: roots, ServerName: host}, answers: map[string]int{}}
	ctx, stop := context.WithTimeout(context.Background(), *length)
	defer stop()
	var all sync.WaitGroup
	for worker := range *workers {
		all.Go(func() { f.requests(ctx, worker) })
	}
	for range *slow {
		all.Go(func() { f.slowBodies(ctx) })
	}
	all.Wait()
	result, err := json.Marshal(f.answers)
	fmt.Println(string(result))
	return err
}

func (f *flooder) count(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[what]++
}

// requests sends requests of one kind: for the directory, with a large body, with deep JSON, or for a nonce.
func (f *flooder) requests(ctx context.Context, worker int) {
	base := strings.TrimSuffix(f.directory, "directory")
	kinds := []struct{ name, method, path, body string }{
		{"directory", http.MethodGet, "directory", ""},
		{"large body", http.MethodPost, "new-order", `{"protected":"` + strings.Repeat("A", 65000) + `","payload":"","signature":"AAAA"}`},
		{"deep JSON", http.MethodPost, "new-order", strings.Repeat("[", 60000)},
		{"nonce", http.MethodHead, "new-nonce", ""},
	}
	kind := kinds[worker%len(kinds)]
	h := &http.Client{Transport: &http.Transport{TLSClientConfig: f.tls.Clone(), ForceAttemptHTTP2: worker%2 == 0}, Timeout: callTimeout}
	for ctx.Err() == nil {
		request, err := http.NewRequestWithContext(ctx, kind.method, base+kind.path, strings.NewReader(kind.body))
		if err != nil {
			return
		}
		request.Header.Set("Content-Type", "application/jose+json")
		response, err := h.Do(request)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			f.count(kind.name + " error")
		default:
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close() // the status is all that counts
			f.count(fmt.Sprint(kind.name, " ", response.StatusCode))
		}
	}
}

// slowBodies opens one connection after another, and sends a body without its last part.
func (f *flooder) slowBodies(ctx context.Context) {
	dialer := &tls.Dialer{Config: f.tls, NetDialer: &net.Dialer{Timeout: callTimeout}}
	for ctx.Err() == nil {
		conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(f.host, "443"))
		if err != nil {
			f.count("slow body refused")
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
			continue
		}
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		_, err = fmt.Fprintf(conn, "POST /acme/new-order HTTP/1.1\r\nHost: %s\r\nContent-Type: application/jose+json\r\nContent-Length: 65000\r\n\r\n%s",
			f.host, strings.Repeat("A", 60000))
		if err == nil {
			_, err = io.Copy(io.Discard, conn) // until the server closes it
		}
		if !errors.Is(err, net.ErrClosed) {
			f.count("slow body closed by the server")
		}
		stop()
		_ = conn.Close() // may be closed already
	}
}
