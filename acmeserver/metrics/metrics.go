// Package metrics counts the requests that the ACME server answers. No label holds text of a client: a route is a pattern
// that is served, and a code is a status that this server sends.
package metrics

import (
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/acmeca/acmeca/acmeserver/nonce"
	"github.com/acmeca/acmeca/api/acme"
)

// Metrics are the ACME server's metrics.
type Metrics struct {
	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	inFlight  prometheus.Gauge
	problems  *prometheus.CounterVec
	nonces    *prometheus.CounterVec

	// Other counts requests for paths that are not a resource.
	Other *Route
	// Overload counts requests that no slot was free for.
	Overload *Route
}

const (
	// OtherRoute is the route of paths that are not a resource.
	OtherRoute    = "other"
	overloadRoute = "overload"
)

// requestBuckets range from an answer from the cache to the longest wait for the controllers, in seconds.
var requestBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20}

// New returns metrics that are not registered yet.
func New() *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "acmeca_http_requests_total", Help: "Requests answered by the ACME server, by route pattern and status code.",
		}, []string{"route", "code"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "acmeca_http_request_duration_seconds", Buckets: requestBuckets,
			Help: "Seconds to answer a request, by route pattern. An answer waits up to 1 s for a state that the client polls for, " +
				"and up to 10 s for the controllers to verify a request.",
		}, []string{"route"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "acmeca_http_requests_in_flight", Help: "Requests that are being answered.",
		}),
		problems: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "acmeca_http_problems_total", Help: "Problem documents sent, by ACME error type.",
		}, []string{"type"}),
		nonces: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "acmeca_nonces_rejected_total", Help: "Requests refused with badNonce, by reason.",
		}, []string{"reason"}),
	}
	m.Other, m.Overload = m.Route(OtherRoute), m.Route(overloadRoute)
	for _, r := range nonceReasons {
		m.nonces.WithLabelValues(r.reason)
	}
	return m
}

// Load is the work of a store that is in flight.
type Load interface {
	// Waiting returns the number of requests that wait for an object to change.
	Waiting() int
	// LiveReads returns the number of reads past the cache.
	LiveReads() int
}

// Register registers the metrics, and those of loads by kind. It does nothing if the registry is nil.
func (m *Metrics) Register(registry prometheus.Registerer, loads map[string]Load) error {
	if registry == nil {
		return nil
	}
	collectors := []prometheus.Collector{m.requests, m.durations, m.inFlight, m.problems, m.nonces}
	for kind, load := range loads {
		labels := prometheus.Labels{"kind": kind}
		collectors = append(collectors,
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "acmeca_long_polls_in_flight", ConstLabels: labels, Help: "Requests that wait for an object to change.",
			}, func() float64 { return float64(load.Waiting()) }),
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "acmeca_live_reads_in_flight", ConstLabels: labels, Help: "Reads past the cache, of objects that the cache does not have.",
			}, func() float64 { return float64(load.LiveReads()) }))
	}
	var errs []error
	for _, c := range collectors {
		errs = append(errs, registry.Register(c))
	}
	return errors.Join(errs...)
}

// Route counts the requests of one route. Its labels are resolved once.
type Route struct {
	all      *Metrics
	pattern  string
	duration prometheus.Observer

	mu    sync.RWMutex
	codes map[int]prometheus.Counter
}

// Route returns the metrics of a route pattern.
func (m *Metrics) Route(pattern string) *Route {
	return &Route{all: m, pattern: pattern, duration: m.durations.WithLabelValues(pattern), codes: map[int]prometheus.Counter{}}
}

// Begin counts a request as in flight, until End is called with its result.
func (r *Route) Begin() time.Time {
	r.all.inFlight.Inc()
	return time.Now()
}

// End counts an answer. The status is zero if the handler panicked; problem is empty if the answer is not a problem.
func (r *Route) End(begun time.Time, status int, problem acme.ProblemType) {
	r.all.inFlight.Dec()
	if status == 0 {
		return
	}
	r.duration.Observe(time.Since(begun).Seconds())
	r.code(status).Inc()
	if problem != "" {
		r.all.problems.WithLabelValues(string(problem)).Inc()
	}
}

// code returns the counter of a status code. It is resolved when the route first answers with the code.
func (r *Route) code(status int) prometheus.Counter {
	r.mu.RLock()
	counter, ok := r.codes[status]
	r.mu.RUnlock()
	if ok {
		return counter
	}
	counter = r.all.requests.WithLabelValues(r.pattern, strconv.Itoa(status))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.codes[status] = counter
	return counter
}

// nonceReasons are the values of the label "reason".
var nonceReasons = []struct {
	err    error
	reason string
}{
	{nonce.ErrMalformed, "malformed"},
	{nonce.ErrForeign, "foreign"},
	{nonce.ErrUnknown, "unknown"},
	{nonce.ErrExpired, "expired"},
	{nonce.ErrUsed, "used"},
}

// NonceRejected counts a nonce that was not accepted.
func (m *Metrics) NonceRejected(err error) {
	for _, r := range nonceReasons {
		if errors.Is(err, r.err) {
			m.nonces.WithLabelValues(r.reason).Inc()
			return
		}
	}
	m.nonces.WithLabelValues("other").Inc()
}
