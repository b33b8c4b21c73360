// Package metrics counts the work of the controllers, and reports the state of objects, issuers and validations.
package metrics

import (
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/validation"
)

// Metrics counts the work of the controllers. Label values are existing issuers and words of the protocol, never text of a
// client. Counters that are used often are resolved once. Nil Metrics count nothing.
type Metrics struct {
	attempts  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	linting   prometheus.Histogram
	signing   prometheus.Histogram
	issued    *prometheus.CounterVec
	issuance  *prometheus.HistogramVec
	failed    *prometheus.CounterVec
	revoked   *prometheus.CounterVec
	skew      prometheus.Histogram
	keyCalls  *prometheus.HistogramVec
	pods      *prometheus.CounterVec

	challenges map[acme.ChallengeType]*challengeMetrics
	issuers    sync.Map // of *issuerMetrics, by types.NamespacedName
}

// challengeMetrics are those of one challenge type.
type challengeMetrics struct {
	duration                  prometheus.Observer
	valid, invalid, transient prometheus.Counter
}

// issuerMetrics are those of one issuer.
type issuerMetrics struct {
	issued   prometheus.Counter
	issuance prometheus.Observer
}

// The label names of an issuer. Its namespace isn't "namespace", which Prometheus uses for that of the operator's Pod.
const (
	LabelNamespace = "issuer_namespace"
	LabelIssuer    = "issuer"
)

// New returns Metrics that are not registered yet.
func New() *Metrics {
	m := &Metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "acmeca_validations_total", Help: "Attempts at challenges, by type and result; a transient failure may be tried again.",
		}, []string{"type", "result"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "acmeca_validation_duration_seconds", Help: "How long attempts at challenges took, by type.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20, 30},
		}, []string{"type"}),
		linting: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "acmeca_certificate_lint_duration_seconds", Help: "Time to put a certificate together and lint it, before it is signed.",
			Buckets: signingBuckets,
		}),
		signing: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "acmeca_certificate_sign_duration_seconds", Help: "Time to sign a certificate with the CA's key.",
			Buckets: signingBuckets,
		}),
		issued: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "acmeca_certificates_issued_total", Help: "Certificates issued.",
		}, []string{LabelNamespace, LabelIssuer}),
		issuance: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "acmeca_issuance_duration_seconds",
			Help:    "From a client's finalize request to the certificate in the order. The request's time is stored in whole seconds, so this is up to a second too much.",
			Buckets: []float64{1, 2, 3, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600},
		}, []string{LabelNamespace, LabelIssuer}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "acmeca_orders_failed_total", Help: "Orders that became invalid, by ACME error type.",
		}, []string{LabelNamespace, LabelIssuer, "type"}),
		revoked: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "acmeca_certificates_revoked_total", Help: "Certificates revoked, by reason (RFC 5280 section 5.3.1).",
		}, []string{LabelNamespace, LabelIssuer, "reason"}),
		skew: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "acmeca_finalize_clock_skew_seconds",
			Help:    "How far the time of a finalize request, by the ACME server's clock, was outside the time from the order's creation to its issuance.",
			Buckets: []float64{0, 1, 5, 15, 60, 300, 600, 3600},
		}),
		keyCalls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "acmeca_key_service_call_duration_seconds",
			Help:    "Calls of the key service, by operation and result: ok, wrong for a signature that does not verify, queue for a call that found no slot in time, or the status code.",
			Buckets: signingBuckets,
		}, []string{"operation", "result"}),
		pods: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "acmeca_pod_certificate_requests_total",
			Help: "Answered requests of Pods for certificates, by the reason of the condition: Issued, or why the request was denied.",
		}, []string{LabelNamespace, LabelIssuer, "reason"}),
		challenges: map[acme.ChallengeType]*challengeMetrics{},
	}
	for _, t := range []acme.ChallengeType{acme.HTTP01, acme.DNS01, acme.TLSALPN01, acme.DNSAccount01, acme.DNSPersist01} {
		m.challenges[t] = &challengeMetrics{
			duration:  m.durations.WithLabelValues(string(t)),
			valid:     m.attempts.WithLabelValues(string(t), "valid"),
			invalid:   m.attempts.WithLabelValues(string(t), "invalid"),
			transient: m.attempts.WithLabelValues(string(t), "transient"),
		}
	}
	return m
}

// signingBuckets reach from an elliptic curve in memory to a key at the other end of a network.
var signingBuckets = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5}

// Register registers the metrics.
func (m *Metrics) Register(registry prometheus.Registerer) error {
	var errs []error
	for _, c := range []prometheus.Collector{
		m.attempts, m.durations, m.linting, m.signing, m.issued, m.issuance, m.failed, m.revoked, m.skew, m.keyCalls, m.pods,
	} {
		errs = append(errs, registry.Register(c))
	}
	return errors.Join(errs...)
}

// AttemptEnded counts an attempt at a challenge that was not cancelled.
func (m *Metrics) AttemptEnded(challenge acme.ChallengeType, result validation.Result, took time.Duration) {
	if m == nil {
		return
	}
	c, known := m.challenges[challenge]
	if !known {
		return
	}
	c.duration.Observe(took.Seconds())
	switch {
	case result.Valid:
		c.valid.Inc()
	case result.Transient:
		c.transient.Inc()
	default:
		c.invalid.Inc()
	}
}

// CertificateSigned observes the durations of linting and signing a certificate.
func (m *Metrics) CertificateSigned(linting, signing time.Duration) {
	if m != nil {
		m.linting.Observe(linting.Seconds())
		m.signing.Observe(signing.Seconds())
	}
}

// KeyServiceCalled observes a call of the key service.
func (m *Metrics) KeyServiceCalled(operation, result string, took time.Duration) {
	if m != nil {
		m.keyCalls.WithLabelValues(operation, result).Observe(took.Seconds())
	}
}

// KeyServiceUp returns a gauge that reports whether the last call of the key service was answered.
func KeyServiceUp(outage func() (time.Duration, error)) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "acmeca_key_service_up", Help: "Whether the key service answers: 1, or 0 if it does not. Absent without a key service.",
	}, func() float64 {
		if _, err := outage(); err != nil {
			return 0
		}
		return 1
	})
}

// FinalizeSkewed observes how far the time of a finalize request was off.
func (m *Metrics) FinalizeSkewed(skew time.Duration) {
	if m != nil {
		m.skew.Observe(skew.Seconds())
	}
}

// OrderChanged counts the changes of an order's status since before. If the issuer is not loaded, its name may be any text, and
// the labels of the issuer stay empty.
func (m *Metrics) OrderChanged(before, order *v1alpha1.AcmeOrder, loaded bool, now time.Time) {
	if m == nil {
		return
	}
	var namespace, issuer string
	if loaded {
		namespace, issuer = order.Namespace, order.Spec.IssuerRef.Name
	}
	if before.Status.State != order.Status.State {
		switch order.Status.State {
		case acme.StateValid:
			of := m.of(types.NamespacedName{Namespace: namespace, Name: issuer})
			of.issued.Inc()
			if order.Spec.Finalization != nil {
				of.issuance.Observe(max(now.Sub(order.Spec.Finalization.Time.Time), 0).Seconds())
			}
		case acme.StateInvalid:
			m.failed.WithLabelValues(namespace, issuer, problemLabel(order.Status.Problem)).Inc()
		}
	}
	if before.Status.RevokedAt == nil && order.Status.RevokedAt != nil && order.Spec.Revocation != nil {
		m.revoked.WithLabelValues(namespace, issuer, ca.Reason(order.Spec.Revocation.Reason).String()).Inc()
	}
}

// PodAnswered counts an answer to a Pod's request, by the reason of its condition.
func (m *Metrics) PodAnswered(issuer types.NamespacedName, reason string) {
	if m != nil {
		m.pods.WithLabelValues(issuer.Namespace, issuer.Name, reason).Inc()
	}
}

// problemLabel is a problem's type if that is one of the protocol's: perspectives name problems too.
func problemLabel(p *v1alpha1.Problem) string {
	if p == nil || !p.Type.Registered() {
		return "other"
	}
	return string(p.Type)
}

func (m *Metrics) of(key types.NamespacedName) *issuerMetrics {
	if known, ok := m.issuers.Load(key); ok {
		return known.(*issuerMetrics)
	}
	of := &issuerMetrics{
		issued: m.issued.WithLabelValues(key.Namespace, key.Name), issuance: m.issuance.WithLabelValues(key.Namespace, key.Name),
	}
	m.issuers.Store(key, of)
	return of
}

// Forget removes the metrics of a deleted issuer.
func (m *Metrics) Forget(key types.NamespacedName) {
	if m == nil {
		return
	}
	m.issuers.Delete(key)
	labels := prometheus.Labels{LabelNamespace: key.Namespace, LabelIssuer: key.Name}
	for _, vec := range []interface {
		DeletePartialMatch(prometheus.Labels) int
	}{m.issued, m.issuance, m.failed, m.revoked, m.pods} {
		vec.DeletePartialMatch(labels)
	}
}
