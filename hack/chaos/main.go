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
	flag.DurationVar(&o.enumerate, "enumerate", 5*time.Minute, "`time` at most for faults at each single write")
	flag.DurationVar(&o.processes, "processes", 2*time.Minute, "`time` for killing and stopping processes, and cutting connections")
	flag.IntVar(&o.clients, "clients", 8, "`number` of clients while that is done")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "`number` that makes a run's choices; the one that a run printed repeats them")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

// run does all that the options give time for. The error says that a promise wasn't kept, or that it couldn't be seen.
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

// inProcess is what needs both halves in this process.
func inProcess(ctx context.Context, o options, random *rand.Rand, r *report, out io.Writer) error {
	fmt.Fprintln(out, "every write of both halves fails once in each way")
	world, err := inprocess.NewWorld(ctx)
	if err != nil {
		return err
	}
	defer world.Stop()
	return enumerate(ctx, world, o, random, r, out)
}
