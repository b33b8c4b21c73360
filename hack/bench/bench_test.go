package main

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func aReport() Report {
	return Report{
		RawWrites: 1000,
		Loads: []Load{
			{Of: "new names", Clients: 1, Names: 1, Rate: 40, P50: 25, Writes: 6, Requests: 6},
			{Of: "new names", Clients: 16, Names: 1, Rate: 90, P50: 150},
			{Of: "new names", Clients: 64, Names: 1, Rate: 100, P50: 600, P99: 1200, Writes: 6, OperatorCPU: 4},
			{Of: "new names", Clients: 16, Names: 1, Replicas: 3, Rate: 1},
			{Of: "many names", Clients: 1, Names: 100, P50: 500},
		},
	}
}

func TestTargets(t *testing.T) {
	for _, g := range aReport().targets() {
		if !g.met {
			t.Errorf("%s: %s is not %s", g.what, g.got(), g.want)
		}
	}
	slow := aReport()
	for i := range slow.Loads {
		l := &slow.Loads[i]
		l.Rate, l.Writes, l.Reads, l.Requests, l.OperatorCPU = l.Rate/10, l.Writes+2, 1, l.Requests+3, 9
		l.P99 *= 10
		if l.Clients == 1 {
			l.P50 *= float64(2 * l.Names)
		}
	}
	slow.Scale = &Scale{ServerBytes: 2000, ControllerBytes: 2000, StartSeconds: 20}
	slow.Revocations = []Revocation{{Revoked: 10, StoredOrders: true, Seconds: 3, ControllersPeak: 1 << 30, ServerPeak: 1 << 30}}
	slow.Loads = append(slow.Loads,
		Load{Of: emptyStore, Clients: 1, Names: 1, P50: 100}, Load{Of: emptyStore, Clients: 16, Names: 1, Rate: 2},
		Load{Of: fullStore, Clients: 1, Names: 1, P50: 111}, Load{Of: fullStore, Clients: 16, Names: 1, Rate: 1.7})
	for _, g := range slow.targets() {
		if g.met {
			t.Errorf("%s: %s counts as %s", g.what, g.got(), g.want)
		}
	}
}

func TestPercentile(t *testing.T) {
	var sorted []time.Duration
	for i := range 200 {
		sorted = append(sorted, time.Duration(i+1)*time.Millisecond)
	}
	for p, want := range map[int]float64{50: 100, 99: 198, 100: 200} {
		if got := percentile(sorted, p); got != want {
			t.Errorf("percentile %d is %v, not %v", p, got, want)
		}
	}
}

func TestChartIsXML(t *testing.T) {
	decoder := xml.NewDecoder(strings.NewReader(string(aReport().chart())))
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestRatesAreComparedWithTheRunBeside(t *testing.T) {
	r := aReport()
	r.Beside = []Beside{
		{Name: "Pebble", Loads: []Load{{Of: "new names", Clients: 16, Names: 1, Rate: 1000}}},
		{Name: "step-ca v0.30.2", Loads: []Load{{Of: "new names", Clients: 16, Names: 1, Rate: 91}, {Of: "new names", Clients: 64, Names: 1, Rate: 99}}},
	}
	met := map[string]bool{}
	for _, g := range r.targets() {
		met[g.what] = g.met
	}
	if met["certificates/s, 16 clients"] || !met["certificates/s, 64 clients"] {
		t.Errorf("%v", met)
	}
}

func TestInTurns(t *testing.T) {
	var order string
	var lasted time.Duration
	side := func(name string) func(context.Context, time.Duration) error {
		return func(_ context.Context, length time.Duration) error {
			order += name
			if name == "a" {
				lasted += length
			}
			return nil
		}
	}
	if err := inTurns(t.Context(), 8*time.Second, side("a"), side("b")); err != nil || order != "abababab" || lasted != 8*time.Second {
		t.Errorf("%s, %v, %v", order, lasted, err)
	}
	ended := errors.New("ended")
	if err := inTurns(t.Context(), time.Second, side("a"), func(context.Context, time.Duration) error { return ended }); !errors.Is(err, ended) {
		t.Errorf("an error is lost: %v", err)
	}
}

// The load of several stretches is their sum.
func TestStretchesAddUp(t *testing.T) {
	s := &session{task: one, measure: func() func() (usage, error) {
		return func() (usage, error) { return usage{writes: 10, reads: 1, operator: 8 * time.Millisecond}, nil }
	}}
	for range 2 {
		if err := s.drive(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		s.outcome.add(time.Millisecond, nil)
		s.outcome.add(3*time.Millisecond, nil)
	}
	s.took = 2 * time.Second
	load, err := s.load()
	if err != nil {
		t.Fatal(err)
	}
	if load.Certificates != 4 || load.Rate != 2 || load.Writes != 5 || load.Reads != 0.5 || load.OperatorCPU != 4 || load.P50 != 1 || load.P99 != 3 {
		t.Errorf("%+v", load)
	}
	s.outcome = outcome{}
	if _, err := s.load(); err == nil {
		t.Error("a load without certificates is no error")
	}
}

func TestDocument(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.md")
	text := "# A\n<!-- loads -->\nold\n<!-- end loads -->\nbetween\n<!-- targets -->\n<!-- end targets -->\n<!-- revocations -->\n<!-- end revocations -->\n<!-- pods -->\n<!-- end pods -->\nend\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := aReport()
	r.Beside = []Beside{{Name: "step-ca", Loads: []Load{{Of: "new names", Clients: 64, Names: 1, Rate: 101}}}}
	r.Pods = &Pods{Requests: 500, Kubelets: 16, Rate: 99.5, P50: 20, P99: 40, OrderWrites: 2, AnswerWrites: 1}
	for range 2 { // a new table replaces the old one
		if err := r.document(file); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| new names | 1 | 1 | 0 | 40.0 | 25.0 |", "| step-ca: new names | 64 |", "| 500 | 16 | 99.5 | 20.0 | 40.0 | 2.00 | 1.00 |\n", "| 100.0 | **missed** |\n", "\n<!-- end loads -->\nbetween\n", "\nend\n"} {
		if strings.Count(string(got), want) != 1 {
			t.Errorf("%q does not occur once:\n%s", want, got)
		}
	}
	if strings.Contains(string(got), "old") {
		t.Error("the old text is still there")
	}
	if err := r.document(filepath.Join(t.TempDir(), "none.md")); err == nil {
		t.Error("a missing file is no error")
	}
	if _, err := between([]byte("<!-- a -->\n"), "a", ""); err == nil {
		t.Error("a place without an end is accepted")
	}
}
