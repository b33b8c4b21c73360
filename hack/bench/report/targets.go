package report

import (
	"fmt"

	"github.com/acmeca/acmeca/hack/bench/load"
)

// These loads compare servers.
var (
	One       = load.Task{Of: "new names", Clients: 1, Names: 1}
	Some      = load.Task{Of: "new names", Clients: 16, Names: 1}
	Most      = load.Task{Of: "new names", Clients: 64, Names: 1}
	ManyNames = load.Task{Of: "many names", Clients: 1, Names: 100}
)

// targets returns all rows of the table of targets: those that the parts added, and those of the loads and revocations.
func (r Report) targets() []Row {
	return append(append([]Row{}, r.Rows...), append(r.loadTargets(), r.revocationTargets()...)...)
}

// loadTargets returns the targets of acmeca alone.
func (r Report) loadTargets() []Row {
	one, most := r.Of(One), r.Of(Most)
	var rows []Row
	add := func(row Row, value float64) {
		row.Part, row.Rounds = "loads", []float64{value}
		rows = append(rows, row)
	}
	if one.Certificates > 0 {
		add(Row{What: "API reads for a certificate", AtMost: 0.01}, one.Reads)
		add(Row{What: "requests of a client for a certificate", AtMost: 8}, one.Requests)
		add(Row{What: "p50 latency, 1 client", Unit: "ms", AtMost: 38}, one.P50)
	}
	if most.Certificates > 0 {
		add(Row{What: "p99 / p50, 64 clients", AtMost: 5}, most.P99/most.P50)
		add(Row{What: "certificates/s x writes each / raw writes/s, 64 clients", AtLeast: 0.6}, r.share(most))
	}
	return rows
}

func (r Report) revocationTargets() (rows []Row) {
	for _, row := range r.Revocations {
		if row.StoredOrders {
			rows = append(rows, Row{Part: "revocations", What: fmt.Sprintf("revocation to CRL over HTTP, %d revoked", row.Revoked),
				Unit: "s", AtMost: 2, Rounds: []float64{row.Seconds}})
		}
		memory := func(half string, peak int64) {
			rows = append(rows, Row{Part: "revocations", What: fmt.Sprintf("memory of the %s, %d revoked", half, row.Revoked),
				Unit: "MiB", AtMost: 461, Rounds: []float64{float64(peak >> 20)}})
		}
		memory("controllers", row.ControllersPeak)
		memory("ACME server", row.ServerPeak)
	}
	return rows
}
