// Validation follows redirects to devices whose factory certificates have negative serial numbers. It verifies no certificate
// there, but crypto/tls parses each one. Package ca refuses such a CA certificate by itself.
//
//go:debug x509negativeserial=1

// Command acmeca is the operator: `acmeca controller` decides and issues, `acmeca server` speaks ACME to clients, and
// `acmeca all` runs both in one process, each with a client of its own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

const usage = `acmeca runs an ACME certificate authority on Kubernetes resources.

Usage:
  acmeca controller [flags]   verify, validate, issue, revoke
  acmeca server [flags]       the ACME server
  acmeca all [flags]          both in one process
  acmeca validator [flags]    validate at another place of the network, for controllers elsewhere
  acmeca COMMAND -h           the flags of a command
`

func main() {
	if err := run(ctrl.SetupSignalHandler(), os.Args[1:], os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "acmeca:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stderr io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return errors.New("a command is missing")
	}
	flags := flag.NewFlagSet("acmeca "+args[0], flag.ContinueOnError)
	flags.SetOutput(stderr)
	operator := args[0] != "validator"
	var o options
	if operator {
		o.bind(flags)
	}
	logging := zap.Options{}
	logging.BindFlags(flags)
	var halves []half
	switch args[0] {
	case "controller":
		halves = []half{o.controller(flags, "")}
	case "server":
		halves = []half{o.server(flags, "")}
	case "all":
		halves = []half{o.controller(flags, "controller-"), o.server(flags, "server-")}
	case "validator":
		halves = []half{validator(flags)}
	case "help", "-h", "-help", "--help":
		fmt.Fprint(stderr, usage)
		return flag.ErrHelp
	default:
		fmt.Fprint(stderr, usage)
		return fmt.Errorf("there is no command %q", args[0])
	}
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	ctrl.SetLogger(zap.New(zap.UseFlagOptions(&logging)))
	if operator {
		if err := o.check(); err != nil {
			return err
		}
	}
	defer calmCollector()()
	return runAll(ctx, halves)
}

// half is one of the two: it runs until the context ends or it fails.
type half func(context.Context) error

// runAll runs the halves until one of them ends, and then ends the others.
func runAll(ctx context.Context, halves []half) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, len(halves))
	for _, h := range halves {
		go func() { ended <- h(ctx) }()
	}
	var first error
	for range halves {
		if err := <-ended; err != nil && first == nil {
			first = err
		}
		cancel()
	}
	return first
}

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return nil, err
	}
	return scheme, v1alpha1.AddToScheme(scheme)
}
