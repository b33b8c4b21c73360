// Command cert-manager is the programs of cert-manager's release: `cert-manager controller`, webhook, cainjector,
// acmesolver and startupapicheck. The release's own main packages are in no published module, so these take their place.
// They run the released code with its defaults, and accept the flags that cert-manager's chart and tests set.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	logf "github.com/cert-manager/cert-manager/pkg/logs"
)

// programs maps the names of cert-manager's programs to their main functions.
var programs = map[string]func(ctx context.Context, args []string) error{
	"controller":      runController,
	"webhook":         runWebhook,
	"cainjector":      runCAInjector,
	"acmesolver":      runSolver,
	"startupapicheck": checkAPI,
}

func main() {
	ctx, stop := signal.NotifyContext(logf.NewContext(context.Background(), logf.Log), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 || programs[args[0]] == nil {
		return errors.New("usage: cert-manager controller|webhook|cainjector|acmesolver|startupapicheck ...")
	}
	return programs[args[0]](ctx, args[1:])
}
