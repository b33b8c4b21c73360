package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/acmeca/acmeca/hack/bench/load"
	"github.com/acmeca/acmeca/hack/bench/peers"
	"github.com/acmeca/acmeca/hack/bench/report"
)

func TestFlags(t *testing.T) {
	var n numbers
	if err := n.Set("100000,300000"); err != nil || !slices.Equal(n, numbers{100_000, 300_000}) || n.String() != "100000,300000" {
		t.Errorf("%v, %v", n, err)
	}
	if err := n.Set("many"); err == nil {
		t.Error("a word is accepted as a number")
	}
	var parts names
	if err := parts.Set("servers,pods"); err != nil || !slices.Equal(parts, names{"servers", "pods"}) {
		t.Errorf("%v, %v", parts, err)
	}
	if err := parts.Set("server"); err == nil || !strings.Contains(err.Error(), "servers, bytes, stored") {
		t.Errorf("an unknown part: %v", err)
	}
}

func row(t *testing.T, rows []report.Row, what string) report.Row {
	t.Helper()
	i := slices.IndexFunc(rows, func(r report.Row) bool { return r.What == what })
	if i < 0 {
		t.Fatalf("no row is called %q: %v", what, rows)
	}
	return rows[i]
}

func TestServersAreComparedRoundByRound(t *testing.T) {
	c := newComparison([]*site{{name: oursName}, {name: earlierName}, {name: peers.All[0].Name}})
	for _, cpu := range []float64{10, 30} { // a slower minute
		c.rounds[oursName][report.Most] = append(c.rounds[oursName][report.Most], load.Result{Rate: 100 / cpu, PlaneCPU: cpu, ServerCPU: 5})
		c.rounds[earlierName][report.Most] = append(c.rounds[earlierName][report.Most], load.Result{Rate: 50 / cpu, PlaneCPU: 2 * cpu, ServerCPU: 10})
	}
	c.rounds[oursName][report.Most] = append(c.rounds[oursName][report.Most], nothing)
	c.rounds[earlierName][report.Most] = append(c.rounds[earlierName][report.Most], load.Result{Rate: 1, PlaneCPU: 40, ServerCPU: 1})
	c.rounds[oursName][report.One] = []load.Result{{P50: 10}}
	c.rounds[oursName][report.ManyNames] = []load.Result{{P50: 300}}
	rows := c.rows()
	plane := row(t, rows, "control plane CPU for a certificate, 64 clients / "+earlierName)
	if !slices.Equal(plane.Rounds, []float64{0.5, 0.5}) || !plane.Met() || plane.Note != "20.0 ms and 40.0 ms" {
		t.Errorf("%+v", plane)
	}
	if many := row(t, rows, "100 names in one order / one name, p50, 1 client"); many.Met() || many.Rounds[0] != 30 {
		t.Errorf("%+v", many)
	}
	if absent := row(t, rows, "certificates/s, 64 clients / "+peers.All[0].Name); len(absent.Rounds) > 0 || absent.Met() || absent.Note != "" {
		t.Errorf("a server without rounds: %+v", absent)
	}
}

func TestStoredOrdersAreCompared(t *testing.T) {
	few := &stock{orders: 100, starts: []float64{2, 4}, serverBytes: 500, controllerBytes: 1000}
	many := &stock{orders: 300, starts: []float64{3, 4}, serverBytes: 10, controllerBytes: 65}
	old := &stock{orders: 100, starts: []float64{10, 40}, serverBytes: 637, controllerBytes: 1333}
	rows := storedRows([]*stock{few, many}, old)
	if start := row(t, rows, "start to ready with 100 orders / "+earlierName); !slices.Equal(start.Rounds, []float64{0.2, 0.1}) || !start.Met() {
		t.Errorf("%+v", start)
	}
	if more := row(t, rows, "start to ready with 300 orders / with 100"); !slices.Equal(more.Rounds, []float64{1.5, 1}) || !more.Met() {
		t.Errorf("%+v", more)
	}
	if absolute := row(t, rows, "start to ready with 300 orders / "+earlierName+" with 100"); !slices.Equal(absolute.Rounds, []float64{0.3, 0.1}) ||
		!absolute.Met() {
		t.Errorf("%+v", absolute)
	}
	if server := row(t, rows, "memory of the ACME server for a stored finished order"); !server.Met() || server.Note != earlierName+": 637 bytes" {
		t.Errorf("%+v", server)
	}
	if controllers := row(t, rows, "memory of the controllers for a stored finished order"); controllers.Met() {
		t.Errorf("%+v", controllers)
	}
	if alone := storedRows([]*stock{few}, nil); len(alone) != 2 {
		t.Errorf("without another size and another build: %v", alone)
	}
}
