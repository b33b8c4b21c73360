// Command build provides programs in bin/: `go run ./hack/build [name ...]`. Without names it provides the programs
// of a control plane.
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
