package main

import (
	"fmt"
	"strings"
)

// goal is a target figure and the measured one.
type goal struct {
	what, want string
	measured   float64
	format     string
	met        bool
}

func (g goal) got() string { return fmt.Sprintf(g.format, g.measured) }

func (g goal) verdict() string {
	if g.met {
		return "met"
	}
	return "missed"
}

// stepCA is the server whose rates are the target: step-ca with Badger. Without a run of step-ca in this session, the
// target is the rate of v0.30.2 under the same kind of load on a machine of the same kind.
const stepCA = "step-ca"

func (r Report) toBeat(clients int, otherwise float64) float64 {
	for _, b := range r.Beside {
		if l := find(b.Loads, "new names", clients, 1); strings.HasPrefix(b.Name, stepCA) && l.Rate > 0 {
			return l.Rate
		}
	}
	return otherwise
}

// targets compares a run with the targets.
func (r Report) targets() []goal {
	one, some, many, hundred := r.of(one), r.of(some), r.of(most), r.of(manyNames)
	below := func(what, want string, measured, limit float64, format string) goal {
		return goal{what, want, measured, format, measured < limit}
	}
	above := func(what, want string, measured, limit float64, format string) goal {
		return goal{what, want, measured, format, measured >= limit}
	}
	rate := func(l Load, otherwise float64) goal {
		limit := r.toBeat(l.Clients, otherwise)
		return goal{fmt.Sprintf("certificates/s, %d clients", l.Clients), fmt.Sprintf("above %.1f, which step-ca does", limit), l.Rate, "%.1f",
			l.Rate > limit}
	}
	goals := []goal{
		below("API writes for a certificate with one name", "7 at most, 6 wanted", one.Writes, 7.005, "%.2f"),
		below("API reads for it", "0", one.Reads, 0.005, "%.2f"),
		below("requests of a client for it", "8 or fewer", one.Requests, 8.005, "%.2f"),
		above("certificates/s x writes each / raw writes/s, 64 clients", "0.6 or more", r.share(many), 0.6, "%.2f"),
		below("p50 latency, 1 client", "below 38 ms", one.P50, 38, "%.1f ms"),
		rate(some, 83),
		rate(many, 86),
		below("p99 / p50, 64 clients", "below 5", ratio(many.P99, many.P50), 5, "%.2f"),
		below("operator CPU for a certificate, 64 clients", "below 5 ms", many.OperatorCPU, 5, "%.2f ms"),
		below("100 names in one order / one name, p50, 1 client", "below 25", ratio(hundred.P50, one.P50), 25, "%.1f"),
	}
	if s := r.Scale; s != nil {
		stored := fmt.Sprintf("with %d orders stored: ", s.Orders)
		goals = append(goals,
			above(stored+"rate / rate with none, 16 clients", "0.9 or more", ratio(r.find(fullStore, 16, 1).Rate, r.find(emptyStore, 16, 1).Rate), 0.9, "%.2f"),
			below(stored+"p50 / p50 with none, 1 client", "1.1 or less", ratio(r.find(fullStore, 1, 1).P50, r.find(emptyStore, 1, 1).P50), 1.1, "%.2f"),
			below("memory of the ACME server for a stored order", "below 1 KiB", s.ServerBytes, 1024, "%.0f bytes"),
			below("memory of the controllers for a stored order", "below 1.5 KiB", s.ControllerBytes, 1536, "%.0f bytes"),
			below(stored+"start to ready", "below 15 s", s.StartSeconds, 15, "%.1f s"),
		)
	}
	for _, row := range r.Revocations {
		if row.StoredOrders {
			goals = append(goals, below(fmt.Sprintf("revocation to CRL over HTTP, %d revoked", row.Revoked), "below 2 s", row.Seconds, 2, "%.2f s"))
		}
		memory := func(half string, peak int64) goal {
			return below(fmt.Sprintf("memory of the %s, %d revoked", half, row.Revoked), "below 461 MiB", float64(peak>>20), 461, "%.0f MiB")
		}
		goals = append(goals, memory("controllers", row.ControllersPeak), memory("ACME server", row.ServerPeak))
	}
	return goals
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
