package acmeserver

import (
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/acmeca/acmeca/acmeserver/nonce"
)

// metrics are the ACME server's. No label has a client's text in it: a route is one of the patterns that are served, a code is
// one that this server sends.
type metrics struct {
	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	inFlight  prometheus.Gauge
	problems  *prometheus.CounterVec
	nonces    *prometheus.CounterVec
	// other and overload are in the place of routes: of what isn't a resource, and of what there was no room for.
	other, overload *routeMetrics
}

const (
	otherRoute    = "other"
	overloadRoute = "overload"
)

// requestBuckets reach from an answer out of the cache to the longest wait for the controllers (awaitVerdict).
var requestBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20}

func newMetrics() *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "acmeca_http_requests_total", Help: "Requests answered by the ACME server, by route pattern and status code.",
		}, []string{"route", "code"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "acmeca_http_request_duration_seconds", Help: "Time to answer a request, by route pattern; answers wait for what clients poll for, for up to a second, and for what the controllers have to verify, for up to ten.",
			Buckets: requestBuckets,
		}, []string{"route"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "acmeca_http_requests_in_flight", Help: "Requests that are being answered.",
		}),
		problems: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "acmeca_http_problems_total", Help: "Problem documents sent, by ACME error type.",
		}, []string{"type"}),
		nonces: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "acmeca_nonces_rejected_total", Help: "Requests refused with badNonce, by what was wrong with the nonce.",
		}, []string{"reason"}),
	}
	m.other, m.overload = m.route(otherRoute), m.route(overloadRoute)
	for _, r := range nonceReasons {
		m.nonces.WithLabelValues(r.reason)
	}
	return m
}

// register makes the metrics visible; a nil registry keeps them to ourselves.
func (s *Server) register(registry prometheus.Registerer) error {
	if registry == nil {
		return nil
	}
	m := s.metrics
	collectors := []prometheus.Collector{m.requests, m.durations, m.inFlight, m.problems, m.nonces}
	for kind, load := range map[string]func() (awaiting, reading int){"account": s.accounts.load, "order": s.orders.load, "authorization": s.authorizations.load} {
		labels := prometheus.Labels{"kind": kind}
		collectors = append(collectors,
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "acmeca_long_polls_in_flight", ConstLabels: labels, Help: "Requests that wait for an object to change.",
			}, func() float64 { awaiting, _ := load(); return float64(awaiting) }),
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "acmeca_live_reads_in_flight", ConstLabels: labels, Help: "Reads past the cache, of what the cache doesn't have.",
			}, func() float64 { _, reading := load(); return float64(reading) }))
	}
	var errs []error
	for _, c := range collectors {
		errs = append(errs, registry.Register(c))
	}
	return errors.Join(errs...)
}

// load is how many requests wait for a change, and how many read past the cache.
func (s *store[T]) load() (awaiting, reading int) { return len(s.awaiting), len(s.reads) }

// routeMetrics are those of one route, resolved once.
type routeMetrics struct {
	all      *metrics
	route    string
	duration prometheus.Observer

	mu    sync.RWMutex
	codes map[int]prometheus.Counter
}

func (m *metrics) route(pattern string) *routeMetrics {
	return &routeMetrics{all: m, route: pattern, duration: m.durations.WithLabelValues(pattern), codes: map[int]prometheus.Counter{}}
}

// begin counts a request in; end counts it out.
func (r *routeMetrics) begin() time.Time {
	r.all.inFlight.Inc()
	return time.Now()
}

// end counts an answer; none where the handler panicked.
func (r *routeMetrics) end(begun time.Time, a *answer) {
	r.all.inFlight.Dec()
	if a == nil {
		return
	}
	r.duration.Observe(time.Since(begun).Seconds())
	r.code(a.status).Inc()
	if a.problem != "" {
		r.all.problems.WithLabelValues(string(a.problem)).Inc()
	}
}

// code resolves the counter of a status code, the first time that the route answers with it.
func (r *routeMetrics) code(status int) prometheus.Counter {
	r.mu.RLock()
	counter, ok := r.codes[status]
	r.mu.RUnlock()
	if ok {
		return counter
	}
	counter = r.all.requests.WithLabelValues(r.route, strconv.Itoa(status))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.codes[status] = counter
	return counter
}

// nonceReasons are what can be wrong with a nonce.
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

func (m *metrics) nonceRejected(err error) {
	for _, r := range nonceReasons {
		if errors.Is(err, r.err) {
			m.nonces.WithLabelValues(r.reason).Inc()
			return
		}
	}
	m.nonces.WithLabelValues("other").Inc()
}
