// Command acmeca-pkcs11 is a key service for acmeca's controllers, whose keys are in a PKCS#11 token such as an HSM. It needs cgo and
// the library of the token's vendor.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr/funcr"

	"github.com/acmeca/acmeca/cmd/acmeca-pkcs11/token"
	"github.com/acmeca/acmeca/internal/keyservice"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "acmeca-pkcs11:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("acmeca-pkcs11", flag.ContinueOnError)
	socket := flags.String("socket", "/run/acmeca-keyservice/private/socket", "`path` of the unix socket; its directory is made if it does not exist, and must belong to this user")
	uri := flags.String("token", "", "PKCS#11 `URI` (RFC 7512) of the token, with the query attributes module-path and pin-source, such as pkcs11:token=acmeca?module-path=/usr/lib/libhsm.so&pin-source=file:/etc/acmeca/pin")
	sessions := flags.Int("sessions", 16, "`number` of concurrent sessions with the token")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	parsed, err := token.ParseURI(*uri)
	if err != nil {
		return fmt.Errorf("--token: %w", err)
	}
	backend, err := token.Open(parsed, *sessions)
	if err != nil {
		return err
	}
	defer backend.Close()
	listener, err := keyservice.Listen(*socket)
	if err != nil {
		return err
	}
	log := funcr.NewJSON(func(line string) { fmt.Fprintln(os.Stderr, line) }, funcr.Options{LogTimestamp: true})
	log.Info("serving", "socket", *socket, "backend", backend.Name())
	return keyservice.NewServer(backend, *sessions, log).Serve(ctx, listener)
}
