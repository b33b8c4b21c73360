package pods

import (
	"testing"
	"time"
)

func TestRateOfPods(t *testing.T) {
	latencies := []time.Duration{40 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, 30 * time.Millisecond}
	p := newPods(latencies, 2*time.Second, podWrites{orders: 8, answers: 5})
	if p.Requests != 4 || p.Rate != 2 || p.P50 != 20 || p.P99 != 40 || p.OrderWrites != 2 || p.AnswerWrites != 1.25 {
		t.Errorf("%+v", p)
	}
}
