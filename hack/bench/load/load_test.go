package load

import (
	"os"
	"slices"
	"testing"
	"time"
)

func TestPercentile(t *testing.T) {
	var sorted []time.Duration
	for i := range 200 {
		sorted = append(sorted, time.Duration(i+1)*time.Millisecond)
	}
	for p, want := range map[int]float64{50: 100, 99: 198, 100: 200} {
		if got := Percentile(sorted, p); got != want {
			t.Errorf("percentile %d is %v, not %v", p, got, want)
		}
	}
}

// The load of several stretches is their sum, and the last one counts alone.
func TestStretchesAddUp(t *testing.T) {
	s := &Session{task: Task{Of: "new names", Clients: 1, Names: 1}, measure: func() func() (Usage, error) {
		return func() (Usage, error) { return Usage{Writes: 10, Reads: 1, Server: 8 * time.Millisecond}, nil }
	}}
	for i := range 2 {
		if err := s.Drive(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		last := s.stretches[i]
		last.took = time.Duration(i+1) * time.Second
		last.add(time.Duration(1+i)*time.Millisecond, nil)
		last.add(time.Duration(3+i)*time.Millisecond, nil)
	}
	if last, err := s.Last(); err != nil || last.Certificates != 2 || last.Rate != 1 || last.Writes != 5 || last.P99 != 4 {
		t.Errorf("%+v, %v", last, err)
	}
	sum, err := s.Result()
	if err != nil {
		t.Fatal(err)
	}
	if sum.Certificates != 4 || sum.Rate != 4.0/3 || sum.Writes != 5 || sum.Reads != 0.5 || sum.ServerCPU != 4 || sum.P50 != 2 || sum.P99 != 4 {
		t.Errorf("%+v", sum)
	}
	s.stretches = []*stretch{{}}
	if _, err := s.Result(); err == nil {
		t.Error("a load without certificates is no error")
	}
}

func TestServiceSendsToReadyReplicasInTurn(t *testing.T) {
	s := NewService("a")
	s.Add("b")
	var chosen []string
	for range 4 {
		address, err := s.choose()
		if err != nil {
			t.Fatal(err)
		}
		chosen = append(chosen, address)
	}
	if !slices.Equal(chosen, []string{"b", "a", "b", "a"}) {
		t.Errorf("%v", chosen)
	}
	s.Remove("a")
	if address, err := s.choose(); address != "b" || err != nil || s.size() != 1 {
		t.Errorf("%q, %v, %d", address, err, s.size())
	}
	s.Remove("b")
	if _, err := s.choose(); err == nil {
		t.Error("a Service without replicas chooses one")
	}
	var none *Service
	if address, err := none.choose(); address != "" || err != nil || none.size() != 0 {
		t.Errorf("without a Service: %q, %v", address, err)
	}
}

func TestProcessorTime(t *testing.T) {
	self, err := ProcessorTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if family, err := FamilyTime(os.Getpid()); err != nil || family < self {
		t.Errorf("the family took %v, the process alone %v, %v", family, self, err)
	}
	if _, err := ProcessorTime(-1); err == nil {
		t.Error("a process that does not exist has a processor time")
	}
}
