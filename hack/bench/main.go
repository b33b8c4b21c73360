package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/acmeca/acmeca/hack/bench/acmeclient"
	"github.com/acmeca/acmeca/hack/run/local"
)

type options struct {
	directory, ca string
	http01        int
	clients       []int
	length, poll  time.Duration
	jsonFile      string
}

func main() {
	var o options
	flag.StringVar(&o.directory, "directory", "", "`URL` of another server's directory; without it an acmeca of its own is started")
	flag.StringVar(&o.ca, "ca", "", "PEM `file` with the roots of that server's TLS certificate")
	flag.IntVar(&o.http01, "http01-port", 5002, "`port` on which that server tries http-01")
	clients := flag.String("clients", "1,16,64", "`numbers` of clients to run one after the other")
	flag.DurationVar(&o.length, "length", 10*time.Second, "`time` that each number of clients runs")
	flag.DurationVar(&o.poll, "poll", 10*time.Millisecond, "`time` before a client's second look at what isn't finished; it doubles with each")
	flag.StringVar(&o.jsonFile, "json", "", "`file` for the figures")
	flag.Parse()
	for text := range strings.SplitSeq(*clients, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			fmt.Fprintf(os.Stderr, "bench: -clients: %q is not a number above 0\n", text)
			os.Exit(2)
		}
		o.clients = append(o.clients, n)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// Report is what a run measured.
type Report struct {
	Time  time.Time `json:"time"`
	Loads []Load    `json:"loads"`
	// RawWrites is how many of the same kind of write the control plane took a second from 64 writers, before the loads.
	RawWrites float64 `json:"rawWritesPerSecond,omitempty"`
}

func run(ctx context.Context, o options, out io.Writer) error {
	report := Report{Time: time.Now().UTC().Truncate(time.Second)}
	t := target{directory: o.directory, responder: &acmeclient.Responder{}, poll: o.poll}
	ca, port := o.ca, o.http01
	var p *plane
	if o.directory == "" {
		fmt.Fprintln(out, "starting a control plane and acmeca")
		l, stop, err := local.StartForTest(ctx)
		if err != nil {
			return err
		}
		defer stop()
		t.directory, ca, port = l.DirectoryURL(), l.CAFile(), l.Ports().HTTP01
		if p, err = newPlane(l.Plane().Config(), l.OperatorPID()); err != nil {
			return err
		}
		if report.RawWrites, err = p.rawRate(ctx, 64, o.length); err != nil {
			return err
		}
	}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return err
		}
		t.roots = x509.NewCertPool()
		if !t.roots.AppendCertsFromPEM(pem) {
			return fmt.Errorf("%s holds no certificate", ca)
		}
	}
	server, err := t.responder.Serve(port)
	if err != nil {
		return err
	}
	defer server.Close()

	var measureErr error
	measured := func() func() usage {
		if p == nil {
			return func() usage { return usage{} }
		}
		stop := p.measure(ctx)
		return func() usage {
			u, err := stop()
			measureErr = errors.Join(measureErr, err)
			return u
		}
	}
	for _, c := range []struct{ clients, names int }{{0, 1}, {1, 100}} {
		numbers := o.clients
		if c.clients != 0 {
			numbers = []int{c.clients}
		}
		for _, n := range numbers {
			load, err := t.run(ctx, n, c.names, o.length, measured)
			if err := errors.Join(err, measureErr); err != nil {
				return err
			}
			report.Loads = append(report.Loads, load)
			fmt.Fprintf(out, "%d clients, %d names: %.1f certificates/s\n", n, c.names, load.Rate)
		}
	}
	report.print(out)
	if o.jsonFile == "" {
		return nil
	}
	data, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.jsonFile, append(data, '\n'), 0o644)
}

func (r Report) print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\nclients\tnames\tcertificates/s\tp50 ms\tp99 ms\tfailed\trequests each\tAPI writes each\tAPI reads each\toperator CPU ms each\tof raw writes\t")
	for _, l := range r.Loads {
		share := "-"
		if r.RawWrites > 0 {
			share = fmt.Sprintf("%.2f", l.Rate*l.Writes/r.RawWrites)
		}
		fmt.Fprintf(w, "%d\t%d\t%.1f\t%.1f\t%.1f\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%s\t\n",
			l.Clients, l.Names, l.Rate, l.P50, l.P99, l.Failures, l.Requests, l.Writes, l.Reads, l.OperatorCPU, share)
	}
	w.Flush()
	if r.RawWrites > 0 {
		fmt.Fprintf(out, "raw writes of the control plane, 64 writers: %.0f/s\n", r.RawWrites)
	}
}
