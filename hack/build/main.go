// Command build provides programs in bin/: `go run ./hack/binaries/build [name ...]`. Without names it provides those that
// a control plane needs.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/acmeca/acmeca/internal/test/binaries"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	names := os.Args[1:]
	if len(names) == 0 {
		names = binaries.Default
	}
	if err := binaries.Ensure(ctx, os.Stdout, names...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
