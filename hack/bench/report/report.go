// Package report contains the figures of a run, and writes them as tables and as a chart.
package report

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/acmeca/acmeca/hack/bench/load"
)

// Report is the result of a run.
type Report struct {
	Time time.Time `json:"time"`
	// Rows are the measurements in turns, with their targets.
	Rows []Row `json:"rows"`
	// LeftOut lists the parts, servers and loads that were not measured, with the reason.
	LeftOut []Omission    `json:"leftOut,omitempty"`
	Loads   []load.Result `json:"loads"`
	// RawWrites is the control plane's rate of stored authorizations a second for 64 writers, measured before and
	// after the load of 64 clients.
	RawWrites float64 `json:"rawWritesPerSecond,omitempty"`
	// Revocations has a row for each number of revoked certificates.
	Revocations []Revocation `json:"revocations,omitempty"`
	Pods        *Pods        `json:"pods,omitempty"`
	// Beside lists the results of the compared servers, the measured acmeca first.
	Beside []Beside `json:"beside,omitempty"`
}

// Omission is a part, a server or a load that was not measured.
type Omission struct {
	Part string `json:"part"`
	What string `json:"what"`
	Why  string `json:"why"`
}

// Beside is the result of a server under the same loads in the same minutes.
type Beside struct {
	Name  string        `json:"name"`
	Loads []load.Result `json:"loads"`
}

// Revocation is the effect of many revoked certificates on one more revocation.
type Revocation struct {
	Revoked int `json:"revoked"`
	// StoredOrders reports whether the revoked orders are stored. Otherwise only the CRL has the revocations.
	StoredOrders bool `json:"storedOrders"`
	CRLBytes     int  `json:"crlBytes"`
	// Seconds is the time from the revocation until the CRL lists it over HTTP, after the least time between two CRLs.
	Seconds float64 `json:"revocationToCRLSeconds"`
	// These are the most resident bytes since the start, also while clients download the CRL in all forms at once.
	ControllersPeak int64 `json:"controllersPeakBytes"`
	ServerPeak      int64 `json:"serverPeakBytes"`
}

// Pods is the rate of certificates for Pods.
type Pods struct {
	Requests int     `json:"requests"`
	Kubelets int     `json:"kubelets"` // each has one request at a time
	Seconds  float64 `json:"seconds"`
	Rate     float64 `json:"requestsPerSecond"`
	P50      float64 `json:"p50Milliseconds"`
	P99      float64 `json:"p99Milliseconds"`
	// These are successful writes by the API server's counters, for each request.
	OrderWrites  float64 `json:"orderWritesPerRequest"`
	AnswerWrites float64 `json:"answerWritesPerRequest"`
}

// Clear removes the figures of a part, before the part runs again.
func (r *Report) Clear(part string) {
	r.Rows = slices.DeleteFunc(r.Rows, func(row Row) bool { return row.Part == part })
	r.LeftOut = slices.DeleteFunc(r.LeftOut, func(o Omission) bool { return o.Part == part })
}

// Of returns the load with one replica, or a zero Result if there is none.
func (r Report) Of(t load.Task) load.Result { return Find(r.Loads, t) }

// Find returns a task's load with one replica at most, or a zero Result if there is none.
func Find(loads []load.Result, t load.Task) load.Result {
	for _, l := range loads {
		if l.Of == t.Of && l.Clients == t.Clients && l.Names == t.Names && l.Replicas <= 1 {
			return l
		}
	}
	return load.Result{}
}

// share returns the ratio of a load's writes to the rate of raw writes.
func (r Report) share(l load.Result) float64 {
	if r.RawWrites == 0 {
		return 0
	}
	return l.Rate * l.Writes / r.RawWrites
}

// Print writes the tables as text.
func (r Report) Print(out io.Writer) {
	for _, table := range [][][]string{r.loadRows(), r.revocationRows(), r.podRows(), r.targetRows(plain)} {
		if len(table) == 1 {
			continue // only the header
		}
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w)
		for _, row := range table {
			for _, cell := range row {
				fmt.Fprintf(w, "%s\t", cell)
			}
			fmt.Fprintln(w)
		}
		_ = w.Flush()
	}
	for _, o := range r.LeftOut {
		fmt.Fprintf(out, "left out: %s: %s\n", o.What, o.Why)
	}
	for _, l := range r.Loads {
		if l.FirstFailure != "" {
			fmt.Fprintf(out, "%s, %d clients: the first failure was: %s\n", l.Of, l.Clients, l.FirstFailure)
		}
	}
}
