package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// Report is the result of a run.
type Report struct {
	Time  time.Time `json:"time"`
	Loads []Load    `json:"loads"`
	// RawWrites is the control plane's rate of stored authorizations a second for 64 writers, measured before and
	// after the load of 64 clients.
	RawWrites float64 `json:"rawWritesPerSecond,omitempty"`
	Scale     *Scale  `json:"scale,omitempty"`
	// Revocations has a row for each number of revoked certificates.
	Revocations []Revocation `json:"revocations,omitempty"`
	Pods        *Pods        `json:"pods,omitempty"`
	// Beside lists the results of other servers in the same session.
	Beside []Beside `json:"beside,omitempty"`
}

// Beside is the result of another server under the same loads, on the same machine.
type Beside struct {
	Name  string `json:"name"`
	Loads []Load `json:"loads"`
}

// find returns the load with one replica, or a zero Load if there is none.
func (r Report) find(of string, clients, names int) Load { return find(r.Loads, of, clients, names) }

// of returns a task's load.
func (r Report) of(t task) Load { return r.find(t.of, t.clients, t.names) }

func find(loads []Load, of string, clients, names int) Load {
	for _, l := range loads {
		if l.Of == of && l.Clients == clients && l.Names == names && l.Replicas <= 1 {
			return l
		}
	}
	return Load{}
}

// share returns the ratio of a load's writes to the rate of raw writes.
func (r Report) share(l Load) float64 {
	if r.RawWrites == 0 {
		return 0
	}
	return l.Rate * l.Writes / r.RawWrites
}

func (r Report) print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\nload\tclients\tnames\treplicas\tcertificates/s\tp50 ms\tp99 ms\tfailed\trequests\tAPI writes\tAPI reads\tCPU ms: operator\tcontrol plane\tclients\tof raw writes\t")
	for _, l := range r.Loads {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%.1f\t%.1f\t%.1f\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t\n", l.Of, l.Clients, l.Names, l.Replicas,
			l.Rate, l.P50, l.P99, l.Failures, l.Requests, l.Writes, l.Reads, l.OperatorCPU, l.PlaneCPU, l.ClientCPU, r.share(l))
	}
	for _, b := range r.Beside {
		for _, l := range b.Loads {
			fmt.Fprintf(w, "%s: %s\t%d\t%d\t\t%.1f\t%.1f\t%.1f\t%d\t%.2f\t\t\t%.2f\t\t%.2f\t\t\n", b.Name, l.Of, l.Clients, l.Names,
				l.Rate, l.P50, l.P99, l.Failures, l.Requests, l.OperatorCPU, l.ClientCPU)
		}
	}
	_ = w.Flush()
	if r.RawWrites == 0 {
		return
	}
	fmt.Fprintf(out, "raw writes of the control plane, 64 writers: %.0f/s\n", r.RawWrites)
	w = tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nwhat\ttarget\tmeasured\t")
	for _, t := range r.targets() {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", t.what, t.want, t.got(), t.verdict())
	}
	_ = w.Flush()
	if r.Scale != nil {
		fmt.Fprintf(out, "an order takes %d bytes in etcd\n", r.Scale.StoredBytes)
	}
	for _, l := range r.Loads {
		if l.FirstFailure != "" {
			fmt.Fprintf(out, "%s, %d clients: the first failure was: %s\n", l.Of, l.Clients, l.FirstFailure)
		}
	}
}
