// Validation follows redirects to devices whose factory certificates have negative serial numbers. It verifies no certificate
// there, but crypto/tls parses each one. Package ca refuses such a CA certificate by itself.
//
//go:debug x509negativeserial=1

// Command acmeca is the operator: `acmeca controller` verifies, validates and issues, `acmeca server` serves ACME to clients, and
// `acmeca all` runs both in one process, each with its own client of the API server. `acmeca validator` is a remote perspective, and
// `acmeca keyservice` a key service.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

const usage = `acmeca runs an ACME certificate authority on Kubernetes resources.

Usage:
  acmeca controller [flags]   verify, validate, issue, revoke
  acmeca server [flags]       serve ACME
  acmeca all [flags]          run both in one process
  acmeca validator [flags]    validate from another network location, for controllers elsewhere
  acmeca keyservice [flags]   sign with keys outside of the cluster, for controllers in the same Pod
  acmeca COMMAND -h           list the flags of a command
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
	operator := args[0] != "validator" && args[0] != "keyservice"
	var o options
	if operator {
		o.bind(flags)
	}
	logging := zap.Options{}
	logging.BindFlags(flags)
	var components []component
	switch args[0] {
	case "controller":
		components = []component{o.controllers(flags, "")}
	case "server":
		components = []component{o.server(flags, "")}
	case "all":
		components = []component{o.controllers(flags, "controller-"), o.server(flags, "server-")}
	case "validator":
		components = []component{validator(flags)}
	case "keyservice":
		components = []component{keyService(flags)}
	case "help", "-h", "-help", "--help":
		fmt.Fprint(stderr, usage)
		return flag.ErrHelp
	default:
		fmt.Fprint(stderr, usage)
		return fmt.Errorf("unknown command %q", args[0])
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
	if err := limitMemory(); err != nil {
		return err
	}
	defer growHeap()()
	return runAll(ctx, components)
}
