package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/go-logr/logr"

	"github.com/acmeca/acmeca/internal/test/inprocess"
)

type options struct {
	enumerate, processes time.Duration
	clients              int
	seed                 uint64
}

func main() {
	var o options
	flag.DurationVar(&o.enumerate, "enumerate", 5*time.Minute, "maximum `time` for faults at each single write")
	flag.DurationVar(&o.processes, "processes", 2*time.Minute, "`time` for killed and stopped processes and cut connections")
	flag.IntVar(&o.clients, "clients", 8, "`number` of clients during that time")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "`number` that seeds a run's random choices; a run prints its seed")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

// run runs both parts within the times of the options. The error reports a broken promise, or a check that could not
// run.
func run(ctx context.Context, o options, out io.Writer) error {
	ctrl.SetLogger(logr.Discard())
	r := newReport(o.seed)
	random := rand.New(rand.NewPCG(o.seed, 0))
	var err error
	if o.enumerate > 0 {
		err = inProcess(ctx, o, random, r, out)
	}
	if o.processes > 0 && err == nil {
		err = processes(ctx, o, random, r, out)
	}
	r.print(out)
	return errors.Join(err, r.err())
}

// inProcess runs the part that needs both halves in this process.
func inProcess(ctx context.Context, o options, random *rand.Rand, r *report, out io.Writer) error {
	fmt.Fprintln(out, "every write of both halves fails once in each way")
	world, err := inprocess.NewWorld(ctx)
	if err != nil {
		return err
	}
	defer world.Stop()
	return enumerate(ctx, world, o, random, r, out)
}
