package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// Report is what a run measured.
type Report struct {
	Time  time.Time `json:"time"`
	Loads []Load    `json:"loads"`
	// RawWrites is how many authorizations the control plane stored a second for 64 writers, before and after the load of 64 clients.
	RawWrites float64 `json:"rawWritesPerSecond,omitempty"`
	Scale     *Scale  `json:"scale,omitempty"`
	// Beside is what other servers did in the same session.
	Beside []Beside `json:"beside,omitempty"`
}

// Beside is what another server did under the same loads, on the same machine.
type Beside struct {
	Name  string `json:"name"`
	Loads []Load `json:"loads"`
}

// find gives a load with one replica; a zero one where it wasn't run.
func (r Report) find(of string, clients, names int) Load { return find(r.Loads, of, clients, names) }

// of gives a task's load.
func (r Report) of(t task) Load { return r.find(t.of, t.clients, t.names) }

func find(loads []Load, of string, clients, names int) Load {
	for _, l := range loads {
		if l.Of == of && l.Clients == clients && l.Names == names && l.Replicas <= 1 {
			return l
		}
	}
	return Load{}
}

// share is what part of the rate of raw writes a load's writes are.
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
