package metrics

import (
	"errors"
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/acmeca/acmeca/acmeserver/nonce"
	"github.com/acmeca/acmeca/api/acme"
)

func TestCountingARequestCostsNoMemory(t *testing.T) {
	route := New().Route("acme/new-order")
	route.End(route.Begin(), 201, "") // resolves the code
	if n := testing.AllocsPerRun(1000, func() { route.End(route.Begin(), 201, "") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAHandlerThatPanicsIsNotInFlight(t *testing.T) {
	m := New()
	m.Other.End(m.Other.Begin(), 0, "")
	if n := testutil.ToFloat64(m.inFlight); n != 0 {
		t.Errorf("%v requests in flight", n)
	}
	if n := testutil.CollectAndCount(m.requests); n != 0 {
		t.Errorf("%d answers", n)
	}
}

func TestProblemsAreCountedByType(t *testing.T) {
	m := New()
	m.Other.End(m.Other.Begin(), 400, acme.BadCSR)
	if n := testutil.ToFloat64(m.problems.WithLabelValues("badCSR")); n != 1 {
		t.Errorf("%v problems", n)
	}
}

func TestNoncesAreCountedByReason(t *testing.T) {
	m := New()
	for _, err := range []error{nonce.ErrUsed, fmt.Errorf("redeem: %w", nonce.ErrUsed), errors.New("text of a client")} {
		m.NonceRejected(err)
	}
	for reason, want := range map[string]float64{"used": 2, "other": 1, "foreign": 0} {
		if n := testutil.ToFloat64(m.nonces.WithLabelValues(reason)); n != want {
			t.Errorf("%s: %v", reason, n)
		}
	}
}

func BenchmarkCounting(b *testing.B) {
	route := New().Route("acme/new-order")
	b.ReportAllocs()
	for b.Loop() {
		route.End(route.Begin(), 201, "")
	}
}
