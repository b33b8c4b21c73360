package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/acmeca/acmeca/hack/bench/acmeclient"
)

// Load is what a number of clients got done, each as fast as it was served (a closed loop).
type Load struct {
	Clients      int     `json:"clients"`
	Names        int     `json:"names"`
	Seconds      float64 `json:"seconds"`
	Certificates int     `json:"certificates"`
	Failures     int     `json:"failures"`
	Rate         float64 `json:"certificatesPerSecond"`
	P50          float64 `json:"p50Milliseconds"`
	P99          float64 `json:"p99Milliseconds"`
	Requests     float64 `json:"requestsPerCertificate"`
	// Of our own control plane and operator; absent for another server.
	Writes      float64 `json:"apiWritesPerCertificate,omitempty"`
	Reads       float64 `json:"apiReadsPerCertificate,omitempty"`
	OperatorCPU float64 `json:"operatorCPUMillisecondsPerCertificate,omitempty"`
}

type target struct {
	directory string
	roots     *x509.CertPool
	responder *acmeclient.Responder
	poll      time.Duration
}

func (t target) httpClient() *http.Client {
	return &http.Client{
		Timeout: time.Minute,
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: t.roots}, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 4,
		},
	}
}

var serial atomic.Int64

// run has clients issue certificates of a number of names for a while, after one each that doesn't count.
func (t target) run(ctx context.Context, clients, names int, length time.Duration, measured func() (stop func() usage)) (Load, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Load{}, err
	}
	workers := make([]*acmeclient.Client, clients)
	var warm sync.WaitGroup
	errs := make([]error, clients)
	for i := range workers {
		warm.Go(func() {
			if workers[i], errs[i] = acmeclient.New(ctx, t.httpClient(), t.directory, t.responder, t.poll); errs[i] == nil {
				_, errs[i] = workers[i].Issue(ctx, key, freshNames(1)...)
			}
		})
	}
	warm.Wait()
	if err := errors.Join(errs...); err != nil {
		return Load{}, err
	}

	var mu sync.Mutex
	var latencies []time.Duration
	var firstFailure error
	load := Load{Clients: clients, Names: names}
	before := 0
	for _, w := range workers {
		before += w.Requests
	}
	stop := measured()
	start := time.Now()
	var work sync.WaitGroup
	for _, w := range workers {
		work.Go(func() {
			for time.Since(start) < length && ctx.Err() == nil {
				began := time.Now()
				_, err := w.Issue(ctx, key, freshNames(names)...)
				mu.Lock()
				if err != nil {
					load.Failures++
					firstFailure = cmpError(firstFailure, err)
				} else {
					latencies = append(latencies, time.Since(began))
				}
				mu.Unlock()
			}
		})
	}
	work.Wait()
	load.Seconds = time.Since(start).Seconds()
	used := stop()
	load.Certificates = len(latencies)
	if load.Certificates == 0 {
		return load, fmt.Errorf("no certificate was issued: %w", firstFailure)
	}
	slices.Sort(latencies)
	n := float64(load.Certificates)
	after := 0
	for _, w := range workers {
		after += w.Requests
	}
	load.Rate = n / load.Seconds
	load.P50, load.P99 = percentile(latencies, 50), percentile(latencies, 99)
	load.Requests = float64(after-before) / n
	load.Writes, load.Reads, load.OperatorCPU = used.writes/n, used.reads/n, used.cpu.Seconds()*1000/n
	return load, ctx.Err()
}

func cmpError(first, err error) error {
	if first != nil {
		return first
	}
	return err
}

func freshNames(count int) []string {
	names := make([]string, count)
	for i := range names {
		names[i] = fmt.Sprintf("n%d.bench.test", serial.Add(1))
	}
	return names
}

func percentile(sorted []time.Duration, p int) float64 {
	return float64(sorted[min(len(sorted)*p/100, len(sorted)-1)]) / float64(time.Millisecond)
}
