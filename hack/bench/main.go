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
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/acmeca/acmeca/hack/bench/report"
)

// options are the flags.
type options struct {
	parts           names
	rounds          int
	length, poll    time.Duration
	orders          numbers
	revocations     numbers
	pods            int
	quick           bool
	from            string
	jsonFile, chart string
	document        string
}

func main() {
	o := options{parts: partNames(), orders: numbers{100_000, 300_000}, revocations: numbers{10_000, 100_000, 1_000_000}}
	flag.Var(&o.parts, "parts", "`parts` to run, separated by commas; with -from, the other parts stay as they were")
	flag.IntVar(&o.rounds, "rounds", 5, "`number` of rounds in which servers and builds take turns")
	flag.DurationVar(&o.length, "length", 4*time.Second, "`time` of a load in a round")
	flag.DurationVar(&o.poll, "poll", 10*time.Millisecond, "`time` before the first retry of a poll; doubles with each retry")
	flag.Var(&o.orders, "orders", "`numbers` of stored orders for the part stored, separated by commas; the earlier build stores the first")
	flag.Var(&o.revocations, "revocations", "`numbers` of revoked certificates, separated by commas, for the part revocations")
	flag.IntVar(&o.pods, "pods", 500, "`number` of Pods that get certificates for the part pods")
	flag.BoolVar(&o.quick, "quick", false, "short rounds and small numbers, to try out; the figures mean little")
	flag.StringVar(&o.from, "from", "", "JSON `file` of an earlier run to start from; without -parts, the file is only shown")
	flag.StringVar(&o.jsonFile, "json", "", "`file` for the figures, written after each part")
	flag.StringVar(&o.chart, "chart", "", "SVG `file` for a chart of the figures")
	flag.StringVar(&o.document, "document", "", "Markdown `file` to write the tables into")
	flag.Parse()
	o.shorten()
	ctrl.SetLogger(logr.Discard()) // the libraries' logs are for debugging only
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// shorten makes a quick run, except for the sizes that the command line sets, and shows an earlier run if no part is asked for.
func (o *options) shorten() {
	set := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { set[f.Name] = true })
	if o.from != "" && !set["parts"] {
		o.parts = nil
	}
	if !o.quick {
		return
	}
	short := options{rounds: 2, length: time.Second, orders: numbers{2_000, 6_000}, revocations: numbers{1_000}, pods: 50}
	for name, apply := range map[string]func(){
		"rounds": func() { o.rounds = short.rounds }, "length": func() { o.length = short.length }, "orders": func() { o.orders = short.orders },
		"revocations": func() { o.revocations = short.revocations }, "pods": func() { o.pods = short.pods },
	} {
		if !set[name] {
			apply()
		}
	}
}

// parts are measured in this order. Each has its own acmeca.
var parts = []struct {
	name string
	run  func(*bench, context.Context) error
}{
	{"servers", (*bench).compareServers},
	{"bytes", (*bench).measureBytes},
	{"stored", (*bench).measureStored},
	{"update", (*bench).measureUpdates},
	{"loads", (*bench).measureLoads},
	{"revocations", (*bench).measureRevocations},
	{"pods", (*bench).measurePods},
	{"keys", (*bench).measureKeyServices},
}

func partNames() (all names) {
	for _, p := range parts {
		all = append(all, p.name)
	}
	return all
}

// bench is a run.
type bench struct {
	options options
	out     io.Writer
	report  report.Report
	part    string
	builds  builds
}

func run(ctx context.Context, o options, out io.Writer) error {
	b := &bench{options: o, out: out}
	if o.from != "" {
		data, err := os.ReadFile(o.from)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(data, &b.report); err != nil {
			return err
		}
	}
	defer b.builds.remove()
	for _, p := range parts {
		if !slices.Contains(o.parts, p.name) {
			continue
		}
		b.part = p.name
		b.report.Clear(p.name)
		b.report.Time = time.Now().UTC().Truncate(time.Second)
		if err := p.run(b, ctx); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			b.leaveOut(p.name, err) // the other parts still count
		}
		if err := b.save(); err != nil {
			return err
		}
	}
	b.report.Print(out)
	return b.save()
}

// save writes the files.
func (b *bench) save() (err error) {
	o := b.options
	if o.chart != "" {
		err = os.WriteFile(o.chart, b.report.Chart(), 0o644)
	}
	if o.document != "" {
		err = errors.Join(err, b.report.WriteDocument(o.document))
	}
	if o.jsonFile != "" {
		data, marshalErr := json.MarshalIndent(b.report, "", "  ")
		err = errors.Join(err, marshalErr, os.WriteFile(o.jsonFile, append(data, '\n'), 0o644))
	}
	return err
}

// leaveOut reports something that is not measured.
func (b *bench) leaveOut(what string, why error) {
	fmt.Fprintf(b.out, "left out: %s: %v\n", what, why)
	first, _, _ := strings.Cut(why.Error(), "\n")
	b.report.LeftOut = append(b.report.LeftOut, report.Omission{Part: b.part, What: what, Why: first})
}

// add adds rows to the report.
func (b *bench) add(rows ...report.Row) {
	for _, row := range rows {
		row.Part = b.part
		b.report.Rows = append(b.report.Rows, row)
		fmt.Fprintf(b.out, "%s: %s\n", row.What, report.Quantity(row.Spread().Median, row.Unit))
	}
}
