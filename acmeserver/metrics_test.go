package acmeserver

import (
	"errors"
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/acmeca/acmeca/acmeserver/nonce"
	"github.com/acmeca/acmeca/api/acme"
)

func TestCountingARequestCostsNoMemory(t *testing.T) {
	route := newMetrics().route("acme/new-order")
	a := &answer{status: 201}
	route.end(route.begin(), a) // resolves the code
	if n := testing.AllocsPerRun(1000, func() { route.end(route.begin(), a) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAHandlerThatPanicsIsNotUnderWay(t *testing.T) {
	m := newMetrics()
	m.other.end(m.other.begin(), nil)
	if n := testutil.ToFloat64(m.inFlight); n != 0 {
		t.Errorf("%v requests in flight", n)
	}
	if n := testutil.CollectAndCount(m.requests); n != 0 {
		t.Errorf("%d answers", n)
	}
}

func TestProblemsAreCountedByType(t *testing.T) {
	m := newMetrics()
	m.other.end(m.other.begin(), fail(t.Context(), acme.NewProblem(acme.BadCSR, "no")))
	if n := testutil.ToFloat64(m.problems.WithLabelValues("badCSR")); n != 1 {
		t.Errorf("%v problems", n)
	}
}

func TestNoncesAreCountedByWhatIsWrong(t *testing.T) {
	m := newMetrics()
	for _, err := range []error{nonce.ErrUsed, fmt.Errorf("redeem: %w", nonce.ErrUsed), errors.New("text of a client's")} {
		m.nonceRejected(err)
	}
	for reason, want := range map[string]float64{"used": 2, "other": 1, "foreign": 0} {
		if n := testutil.ToFloat64(m.nonces.WithLabelValues(reason)); n != want {
			t.Errorf("%s: %v", reason, n)
		}
	}
}

func BenchmarkCounting(b *testing.B) {
	route, a := newMetrics().route("acme/new-order"), &answer{status: 201}
	b.ReportAllocs()
	for b.Loop() {
		route.end(route.begin(), a)
	}
}
