package load

import (
	"cmp"
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

// Result is the result of a load.
type Result struct {
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
	// ServerCPU is the processor time of the server, and of the database that it brings.
	ServerCPU float64 `json:"operatorCPUMillisecondsPerCertificate,omitempty"`
	// These count our own control plane; absent for another server.
	Writes   float64 `json:"apiWritesPerCertificate,omitempty"`
	Reads    float64 `json:"apiReadsPerCertificate,omitempty"`
	PlaneCPU float64 `json:"controlPlaneCPUMillisecondsPerCertificate,omitempty"`
}

// Usage is the usage during a measurement.
type Usage struct {
	Writes, Reads       float64
	Server, Plane, Self time.Duration // processor time
}

// Minus returns the usage since before.
func (u Usage) Minus(before Usage) Usage {
	return Usage{u.Writes - before.Writes, u.Reads - before.Reads, u.Server - before.Server, u.Plane - before.Plane, u.Self - before.Self}
}

func (u Usage) plus(more Usage) Usage {
	return Usage{u.Writes + more.Writes, u.Reads + more.Reads, u.Server + more.Server, u.Plane + more.Plane, u.Self + more.Self}
}

// A Task is a load to run.
type Task struct {
	Of             string
	Clients, Names int
	// Renew makes each client renew one certificate again and again, instead of requesting new names.
	Renew bool
	// Rate is the number of certificates to request a second; 0 for as many as possible.
	Rate float64
	// Names of certificates end in Suffix; "" for names under .bench.test.
	Suffix string
}

func (t Task) String() string {
	return fmt.Sprintf("%s, %d clients, %d names", t.Of, t.Clients, t.Names)
}

var serial atomic.Int64

// worker is a client and its last certificate.
type worker struct {
	*acmeclient.Client
	names []string
	der   []byte
}

// issue requests the next certificate.
func (w *worker) issue(ctx context.Context, key *ecdsa.PrivateKey, t Task) (err error) {
	if t.Renew && w.der != nil {
		w.der, err = w.Client.Renew(ctx, key, w.der, w.names...)
		return err
	}
	w.names = t.freshNames()
	w.der, err = w.Issue(ctx, key, w.names...)
	return err
}

// Measure starts to count usage. The returned function returns the usage until its call.
type Measure func() (stop func() (Usage, error))

// Session is a load that runs in one or several stretches.
type Session struct {
	task      Task
	replicas  int
	workers   []*worker
	key       *ecdsa.PrivateKey
	measure   Measure
	stretches []*stretch
}

// stretch is the result of one stretch.
type stretch struct {
	outcome
	took     time.Duration
	requests int
	used     Usage
}

// Begin registers the clients. Each gets one certificate that is not counted.
func (t Target) Begin(ctx context.Context, do Task, measure Measure) (*Session, error) {
	s := &Session{task: do, replicas: t.Service.size(), measure: measure}
	var err error
	if s.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err == nil {
		s.workers, err = t.workers(ctx, do, s.key)
	}
	return s, err
}

// Drive makes the clients issue for a duration.
func (s *Session) Drive(ctx context.Context, length time.Duration) error {
	return s.driveWhile(ctx, func(since time.Duration) bool { return since < length })
}

// DriveUntil makes the clients issue until the channel is closed.
func (s *Session) DriveUntil(ctx context.Context, end <-chan struct{}) error {
	return s.driveWhile(ctx, func(time.Duration) bool {
		select {
		case <-end:
			return false
		default:
			return true
		}
	})
}

// driveWhile makes the clients issue while more returns true for the time since the start.
func (s *Session) driveWhile(ctx context.Context, more func(since time.Duration) bool) error {
	done := &stretch{}
	s.stretches = append(s.stretches, done)
	before, stop, start := requests(s.workers), s.measure(), time.Now()
	s.task.drive(ctx, s.workers, s.key, more, &done.outcome)
	done.took = time.Since(start)
	var err error
	done.used, err = stop()
	done.requests = requests(s.workers) - before
	return errors.Join(err, ctx.Err())
}

// Last returns the result of the last stretch.
func (s *Session) Last() (Result, error) { return s.result(s.stretches[len(s.stretches)-1:]) }

// Result returns the sum of all stretches.
func (s *Session) Result() (Result, error) { return s.result(s.stretches) }

func (s *Session) result(stretches []*stretch) (Result, error) {
	do, sum := s.task, stretch{}
	for _, one := range stretches {
		sum.latencies = append(sum.latencies, one.latencies...)
		sum.failures += one.failures
		if sum.first == nil {
			sum.first = one.first
		}
		sum.took += one.took
		sum.requests += one.requests
		sum.used = sum.used.plus(one.used)
	}
	r := Result{
		Of: do.Of, Clients: do.Clients, Names: do.Names, Offered: do.Rate, Replicas: s.replicas,
		Seconds: sum.took.Seconds(), Certificates: len(sum.latencies), Failures: sum.failures,
	}
	if sum.first != nil {
		r.FirstFailure = sum.first.Error()
	}
	if r.Certificates == 0 {
		return r, fmt.Errorf("no certificate was issued: %w", sum.first)
	}
	slices.Sort(sum.latencies)
	n := float64(r.Certificates)
	each := func(d time.Duration) float64 { return d.Seconds() * 1000 / n }
	r.Rate = n / r.Seconds
	r.P50, r.P99 = Percentile(sum.latencies, 50), Percentile(sum.latencies, 99)
	r.Requests = float64(sum.requests) / n
	r.Writes, r.Reads = sum.used.Writes/n, sum.used.Reads/n
	r.ServerCPU, r.PlaneCPU, r.ClientCPU = each(sum.used.Server), each(sum.used.Plane), each(sum.used.Self)
	return r, nil
}

func (t Target) workers(ctx context.Context, do Task, key *ecdsa.PrivateKey) ([]*worker, error) {
	workers := make([]*worker, do.Clients)
	errs := make([]error, do.Clients)
	var warm sync.WaitGroup
	for i := range workers {
		warm.Go(func() {
			workers[i] = &worker{}
			if workers[i].Client, errs[i] = t.Register(ctx, i); errs[i] == nil {
				errs[i] = workers[i].issue(ctx, key, Task{Names: 1, Suffix: do.Suffix})
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

// outcome is the certificates and failures of one stretch.
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

// drive makes the workers issue while there is more to do. In an open loop, the latency of a certificate counts
// from its scheduled start, even if no client was free at that time.
func (t Task) drive(ctx context.Context, workers []*worker, key *ecdsa.PrivateKey, more func(time.Duration) bool, o *outcome) {
	start := time.Now()
	var work sync.WaitGroup
	var next atomic.Int64
	for _, w := range workers {
		work.Go(func() {
			for ctx.Err() == nil {
				began := time.Now()
				if t.Rate > 0 {
					began = start.Add(time.Duration(float64(next.Add(1)-1) / t.Rate * float64(time.Second)))
					time.Sleep(time.Until(began))
				}
				if !more(began.Sub(start)) {
					return
				}
				err := w.issue(ctx, key, t)
				o.add(time.Since(began), err)
			}
		})
	}
	work.Wait()
}

func (t Task) freshNames() []string {
	return FreshNames(t.Names, cmp.Or(t.Suffix, ".bench.test"))
}

// FreshNames returns new names that end in suffix.
func FreshNames(count int, suffix string) []string {
	names := make([]string, count)
	for i := range names {
		names[i] = fmt.Sprintf("n%d%s", serial.Add(1), suffix)
	}
	return names
}

// Percentile returns the nearest-rank percentile, in milliseconds.
func Percentile(sorted []time.Duration, p int) float64 {
	rank := int(math.Ceil(float64(len(sorted)) * float64(p) / 100))
	return float64(sorted[max(rank, 1)-1]) / float64(time.Millisecond)
}

// Issue makes the first client issue a number of certificates.
func (s *Session) Issue(ctx context.Context, count int) error {
	for range count {
		if err := s.workers[0].issue(ctx, s.key, s.task); err != nil {
			return err
		}
	}
	return nil
}
