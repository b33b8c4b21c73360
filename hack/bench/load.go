package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/acmeca/acmeca/internal/test/acmeclient"
)

// Load is the result of a load.
type Load struct {
	// Of names the measured task.
	Of      string `json:"of"`
	Clients int    `json:"clients"`
	Names   int    `json:"names"`
	// Replicas of the ACME server; absent for another server.
	Replicas int `json:"replicas,omitempty"`
	// Offered is the rate of requested certificates a second in an open loop. It is absent in a closed loop, in which
	// each client requests a certificate as soon as it has the last one.
	Offered      float64 `json:"offeredPerSecond,omitempty"`
	Seconds      float64 `json:"seconds"`
	Certificates int     `json:"certificates"`
	Failures     int     `json:"failures"`
	FirstFailure string  `json:"firstFailure,omitempty"`
	Rate         float64 `json:"certificatesPerSecond"`
	P50          float64 `json:"p50Milliseconds"`
	P99          float64 `json:"p99Milliseconds"`
	Requests     float64 `json:"requestsPerCertificate"`
	// ClientCPU is the processor time of the load generator for a certificate.
	ClientCPU float64 `json:"clientCPUMillisecondsPerCertificate"`
	// These count our own control plane and operator; absent for another server.
	Writes      float64 `json:"apiWritesPerCertificate,omitempty"`
	Reads       float64 `json:"apiReadsPerCertificate,omitempty"`
	OperatorCPU float64 `json:"operatorCPUMillisecondsPerCertificate,omitempty"`
	PlaneCPU    float64 `json:"controlPlaneCPUMillisecondsPerCertificate,omitempty"`
}

// A task is a load to run.
type task struct {
	of             string
	clients, names int
	// renew makes each client renew one certificate again and again, instead of requesting new names.
	renew bool
	// rate is the number of certificates to request a second; 0 for as many as possible.
	rate float64
}

var serial atomic.Int64

// worker is a client and its last certificate.
type worker struct {
	*acmeclient.Client
	names []string
	der   []byte
}

// issue requests the next certificate.
func (w *worker) issue(ctx context.Context, key *ecdsa.PrivateKey, t task) (err error) {
	if t.renew && w.der != nil {
		w.der, err = w.Renew(ctx, key, w.der, w.names...)
		return err
	}
	w.names = freshNames(t.names)
	w.der, err = w.Issue(ctx, key, w.names...)
	return err
}

// session is a load that runs in one or several stretches.
type session struct {
	task     task
	replicas int
	key      *ecdsa.PrivateKey
	workers  []*worker
	measure  func() (stop func() (usage, error))

	outcome  outcome
	took     time.Duration
	used     usage
	requests int
}

// begin creates the clients of a load. Each client gets one certificate that is not counted.
func (t target) begin(ctx context.Context, do task, measure func() (stop func() (usage, error))) (*session, error) {
	s := &session{task: do, replicas: len(t.addresses), measure: measure}
	var err error
	if s.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err == nil {
		s.workers, err = t.workers(ctx, do, s.key)
	}
	return s, err
}

// drive makes the clients issue for a duration.
func (s *session) drive(ctx context.Context, length time.Duration) error {
	before, stop, start := requests(s.workers), s.measure(), time.Now()
	s.task.drive(ctx, s.workers, s.key, start, length, &s.outcome)
	s.took += time.Since(start)
	used, err := stop()
	s.used.add(used)
	s.requests += requests(s.workers) - before
	return errors.Join(err, ctx.Err())
}

// load returns the sum of all stretches.
func (s *session) load() (Load, error) {
	do, done := s.task, &s.outcome
	load := Load{
		Of: do.of, Clients: do.clients, Names: do.names, Offered: do.rate, Replicas: s.replicas,
		Seconds: s.took.Seconds(), Certificates: len(done.latencies), Failures: done.failures,
	}
	if done.first != nil {
		load.FirstFailure = done.first.Error()
	}
	if load.Certificates == 0 {
		return load, fmt.Errorf("no certificate was issued: %w", done.first)
	}
	slices.Sort(done.latencies)
	n := float64(load.Certificates)
	each := func(d time.Duration) float64 { return d.Seconds() * 1000 / n }
	load.Rate = n / load.Seconds
	load.P50, load.P99 = percentile(done.latencies, 50), percentile(done.latencies, 99)
	load.Requests = float64(s.requests) / n
	load.Writes, load.Reads = s.used.writes/n, s.used.reads/n
	load.OperatorCPU, load.PlaneCPU, load.ClientCPU = each(s.used.operator), each(s.used.plane), each(s.used.self)
	return load, nil
}

func (t target) workers(ctx context.Context, do task, key *ecdsa.PrivateKey) ([]*worker, error) {
	workers := make([]*worker, do.clients)
	errs := make([]error, do.clients)
	var warm sync.WaitGroup
	for i := range workers {
		warm.Go(func() {
			workers[i] = &worker{}
			if workers[i].Client, errs[i] = t.register(ctx, i); errs[i] == nil {
				errs[i] = workers[i].issue(ctx, key, task{names: 1})
			}
		})
	}
	warm.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err // the other workers failed in the same way
		}
	}
	return workers, nil
}

func requests(workers []*worker) (sum int) {
	for _, w := range workers {
		sum += w.Requests
	}
	return sum
}

// outcome is the result of one stretch.
type outcome struct {
	mu        sync.Mutex
	latencies []time.Duration
	failures  int
	first     error
}

func (o *outcome) add(latency time.Duration, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case err == nil:
		o.latencies = append(o.latencies, latency)
	case o.first == nil:
		o.first = err
		fallthrough
	default:
		o.failures++
	}
}

// drive makes the workers issue until the end of the duration. In an open loop, the latency of a certificate counts
// from its scheduled start, even if no client was free at that time.
func (t task) drive(ctx context.Context, workers []*worker, key *ecdsa.PrivateKey, start time.Time, length time.Duration, o *outcome) {
	var work sync.WaitGroup
	var next atomic.Int64
	for _, w := range workers {
		work.Go(func() {
			for ctx.Err() == nil {
				began := time.Now()
				if t.rate > 0 {
					began = start.Add(time.Duration(float64(next.Add(1)-1) / t.rate * float64(time.Second)))
					time.Sleep(time.Until(began))
				}
				if began.Sub(start) >= length {
					return
				}
				err := w.issue(ctx, key, t)
				o.add(time.Since(began), err)
			}
		})
	}
	work.Wait()
}

func freshNames(count int) []string {
	names := make([]string, count)
	for i := range names {
		names[i] = fmt.Sprintf("n%d.bench.test", serial.Add(1))
	}
	return names
}

// percentile returns the nearest-rank percentile, in milliseconds.
func percentile(sorted []time.Duration, p int) float64 {
	rank := int(math.Ceil(float64(len(sorted)) * float64(p) / 100))
	return float64(sorted[max(rank, 1)-1]) / float64(time.Millisecond)
}
