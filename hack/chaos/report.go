package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"

	"github.com/acmeca/acmeca/hack/chaos/history"
)

// report is the result of a run.
type report struct {
	mu     sync.Mutex
	seed   uint64
	faults map[string]int // by kind
	// points counts the writes of the scripts, enumerable the possible faults at them, enumerated the faults that
	// happened.
	points, enumerable, enumerated int
	// absent lists the faults whose write never happened, despite retries.
	absent   []string
	requests int
	// connections counts those of each replica of the ACME server. clockFailures counts the orders that failed
	// because of a wrong clock.
	connections   []string
	clockFailures int
	// memory is that of each process at its peak.
	memory                              []string
	certificates, renewals, revocations int
	// remote counts the certificates of processes whose CA key is in the key service.
	remote     int
	violations []history.Violation
}

func newReport(seed uint64) *report { return &report{seed: seed, faults: map[string]int{}} }

// fault counts a fault.
func (r *report) fault(kind string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults[kind]++
}

// tried records a planned fault at a chosen write.
func (r *report) tried(j job, happened bool) {
	if !happened {
		r.mu.Lock()
		defer r.mu.Unlock()
		if j.tries == maxTries {
			r.absent = append(r.absent, fmt.Sprintf("%s (number %d) of %q, which %s%s", j.at.Call, j.at.Nth, j.script.name, j.mode, j.late()))
		}
		return
	}
	r.fault("a write " + string(j.mode) + j.late())
	r.mu.Lock()
	defer r.mu.Unlock()
	r.enumerated++
}

// happened returns the number of planned faults that happened.
func (r *report) happened() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.enumerated
}

func (r *report) violated(v history.Violation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.violations = append(r.violations, v)
}

// add adds the results of a worker.
func (r *report) add(w *worker, violations []history.Violation) {
	r.count(w.history, violations)
}

func (r *report) count(h *history.History, violations []history.Violation) {
	certificates, renewals, revocations := h.Count()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests += h.Requests()
	r.certificates += certificates
	r.renewals += renewals
	r.revocations += revocations
	r.violations = append(r.violations, violations...)
}

// err lists the broken promises.
func (r *report) err() error {
	var errs []error
	for _, v := range r.violations {
		errs = append(errs, errors.New(v.String()))
	}
	return errors.Join(errs...)
}

func (r *report) print(out io.Writer) {
	for _, what := range r.absent {
		fmt.Fprintln(out, "didn't come:", what)
	}
	counts := map[history.Fault]int{}
	for _, v := range r.violations {
		counts[v.Fault]++
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w)
	for _, kind := range slices.Sorted(maps.Keys(r.faults)) {
		fmt.Fprintf(w, "fault: %s\t%d\n", kind, r.faults[kind])
	}
	fmt.Fprintf(w, "faults at chosen writes, of those there are\t%d of %d (%d writes)\n", r.enumerated, r.enumerable, r.points)
	fmt.Fprintf(w, "faults whose write didn't come in %d tries\t%d\n", maxTries, len(r.absent))
	fmt.Fprintf(w, "requests answered\t%d\n", r.requests)
	if len(r.connections) > 0 {
		fmt.Fprintf(w, "connections to each replica of the ACME server\t%s\n", strings.Join(r.connections, ", "))
		fmt.Fprintf(w, "memory at the peak, of the manifests' limits\t%s\n", strings.Join(r.memory, ", "))
		fmt.Fprintf(w, "orders that failed by a wrong clock\t%d\n", r.clockFailures)
		fmt.Fprintf(w, "certificates of the CA in the key service\t%d\n", r.remote)
	}
	fmt.Fprintf(w, "certificates\t%d\n", r.certificates)
	fmt.Fprintf(w, "certificates that replaced another one\t%d\n", r.renewals)
	fmt.Fprintf(w, "revocations\t%d\n", r.revocations)
	fmt.Fprintf(w, "lost\t%d\n", counts[history.Lost])
	fmt.Fprintf(w, "duplicated\t%d\n", counts[history.Duplicated])
	fmt.Fprintf(w, "other invariant violations\t%d\n", counts[history.Broken])
	fmt.Fprintf(w, "seed to replay\t%d\n", r.seed)
	_ = w.Flush() // out is a terminal or a test's buffer
}
