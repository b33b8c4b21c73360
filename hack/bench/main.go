package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/acmeca/acmeca/internal/test/http01"
	"github.com/acmeca/acmeca/internal/test/local"
)

type options struct {
	directory, ca   string
	http01, dns     int
	pid             int
	length, poll    time.Duration
	orders          int
	revocations     revocations
	pods            int
	jsonFile, chart string
	from            string
	beside          besides
	document        string
}

func main() {
	o := options{revocations: revocations{10_000, 100_000, 1_000_000}}
	flag.StringVar(&o.directory, "directory", "", "`URL` of another server's directory; by default bench starts an acmeca")
	flag.StringVar(&o.ca, "ca", "", "PEM `file` with the roots of that server's TLS certificate")
	flag.IntVar(&o.http01, "http01-port", 5002, "`port` on which that server tries http-01")
	flag.IntVar(&o.dns, "dns-port", 5053, "`port` of loopback of a DNS server for names under .test")
	flag.IntVar(&o.pid, "pid", 0, "`process` of that server, whose processor time is counted; 0 for none")
	flag.DurationVar(&o.length, "length", 10*time.Second, "`time` of each load")
	flag.DurationVar(&o.poll, "poll", 10*time.Millisecond, "`time` before the first retry of a poll; doubles with each retry")
	flag.IntVar(&o.orders, "orders", 100_000, "`number` of orders to store for the second part; 0 skips that part")
	flag.Var(&o.revocations, "revocations", "`numbers` of revoked certificates, separated by commas, for the third part; with -from, only this part runs")
	flag.IntVar(&o.pods, "pods", 500, "`number` of Pods that get certificates for the fourth part; with -from, only this part runs; 0 skips it")
	flag.StringVar(&o.jsonFile, "json", "", "`file` for the figures")
	flag.StringVar(&o.chart, "chart", "", "SVG `file` for a chart of the figures")
	flag.StringVar(&o.from, "from", "", "JSON `file` of an earlier run to show instead of a new run")
	flag.StringVar(&o.document, "document", "", "Markdown `file` to write the tables into")
	flag.Var(&o.beside, "beside", "another server's `name=file`, the JSON file of its run in the same session, for comparison; may be repeated")
	flag.Parse()
	ctrl.SetLogger(logr.Discard()) // the libraries' logs are for debugging only
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, out io.Writer) error {
	var report Report
	var err error
	if o.from != "" {
		var data []byte
		if data, err = os.ReadFile(o.from); err == nil {
			err = json.Unmarshal(data, &report)
		}
		if err == nil && o.asked("revocations") {
			b := newBench(o, out)
			err = b.measureRevocations(ctx)
			report.Revocations = b.report.Revocations
		}
		if err == nil && o.asked("pods") {
			b := newBench(o, out)
			err = b.measurePods(ctx)
			report.Pods = b.report.Pods
		}
	} else {
		report, err = measure(ctx, o, out)
	}
	if err != nil {
		return err
	}
	if err := o.beside.into(&report); err != nil {
		return err
	}
	report.print(out)
	if o.chart != "" {
		err = os.WriteFile(o.chart, report.chart(), 0o644)
	}
	if o.document != "" {
		err = errors.Join(err, report.document(o.document))
	}
	if o.jsonFile != "" {
		data, marshalErr := json.MarshalIndent(report, "", "  ")
		err = errors.Join(err, marshalErr, os.WriteFile(o.jsonFile, append(data, '\n'), 0o644))
	}
	return err
}

// measure runs all loads one after the other.
func measure(ctx context.Context, o options, out io.Writer) (Report, error) {
	b := newBench(o, out)
	b.report.Time = time.Now().UTC().Truncate(time.Second)
	if o.directory != "" {
		return b.report, b.measureOther(ctx)
	}
	if err := b.measureOurs(ctx); err != nil || o.orders == 0 {
		return b.report, err
	}
	if err := b.measureScale(ctx); err != nil {
		return b.report, err
	}
	if err := b.measureRevocations(ctx); err != nil || o.pods == 0 {
		return b.report, err
	}
	err := b.measurePods(ctx)
	return b.report, err
}

// asked reports whether the command line sets a flag.
func (options) asked(name string) (set bool) {
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == name })
	return set
}

// bench is a run.
type bench struct {
	options options
	out     io.Writer
	target  target
	plane   *plane // nil for another server
	report  Report
	launch  launch
}

// These loads compare servers.
var (
	one       = task{of: "new names", clients: 1, names: 1}
	some      = task{of: "new names", clients: 16, names: 1}
	most      = task{of: "new names", clients: 64, names: 1}
	manyNames = task{of: "many names", clients: 1, names: 100}
)

func newBench(o options, out io.Writer) *bench {
	return &bench{options: o, out: out, target: target{directory: o.directory, responder: &http01.Responder{Once: true}, poll: o.poll},
		launch: local.StartForTestWithReplicas}
}

// start starts an acmeca and a responder for its challenges.
func (b *bench) start(ctx context.Context) (stop func(), err error) {
	fmt.Fprintln(b.out, "starting a control plane and acmeca")
	p, stopPlane, err := startPlane(ctx, b.launch)
	if err != nil {
		return nil, err
	}
	if err := b.target.responder.Listen(p.local.Ports().HTTP01); err != nil {
		stopPlane()
		return nil, err
	}
	b.plane, b.target.directory = p, p.local.DirectoryURL()
	if b.target.roots, err = readRoots(p.local.CAFile()); err != nil {
		b.target.responder.Stop()
		stopPlane()
		return nil, err
	}
	return func() { b.target.responder.Stop(); stopPlane() }, nil
}

func (b *bench) measureOurs(ctx context.Context) error {
	stop, err := b.start(ctx)
	if err != nil {
		return err
	}
	defer stop()
	if err := b.compare(ctx, side{b, one}, side{b, manyNames}); err != nil {
		return err
	}
	if err := b.loads(ctx, some); err != nil {
		return err
	}
	if err := b.besideRawWrites(ctx, most); err != nil {
		return err
	}
	if err := b.loads(ctx,
		task{of: "renewals", clients: 16, names: 1, renew: true},
		task{of: "half of that rate, open loop", clients: 64, names: 1, rate: b.report.of(some).Rate / 2},
	); err != nil {
		return err
	}
	for replicas := 2; replicas <= 3; replicas++ {
		if err := b.plane.startReplicas(ctx, replicas); err != nil {
			return err
		}
		if err := b.loads(ctx, some); err != nil {
			return err
		}
	}
	return b.sharded(ctx)
}

// loads runs loads one after the other.
func (b *bench) loads(ctx context.Context, tasks ...task) error {
	for _, do := range tasks {
		s, err := b.begin(ctx, do)
		if err == nil {
			err = s.drive(ctx, b.options.length)
		}
		if err == nil {
			err = b.add(s)
		}
		if err != nil {
			return fmt.Errorf("%s, %d clients: %w", do.of, do.clients, err)
		}
	}
	return nil
}

// begin begins a load on the measured server.
func (b *bench) begin(ctx context.Context, do task) (*session, error) {
	if b.plane != nil {
		b.target.addresses = b.plane.addresses()
	}
	return b.target.begin(ctx, do, func() func() (usage, error) { return b.used(ctx) })
}

// add adds a load to the report.
func (b *bench) add(s *session) error {
	load, err := s.load()
	if err != nil {
		return err
	}
	b.report.Loads = append(b.report.Loads, load)
	fmt.Fprintf(b.out, "%s, %d clients, %d names: %.1f certificates/s\n", load.Of, load.Clients, load.Names, load.Rate)
	return nil
}
