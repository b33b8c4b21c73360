package main

import (
	"context"
	"errors"
	"flag"
	"fmt"

	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/acmeca/acmeca/internal/keyservice"
	"github.com/acmeca/acmeca/internal/keyservice/file"
)

type keyServiceOptions struct {
	socket, files string
	concurrent    int
}

// keyService adds the flags of `acmeca keyservice`.
func keyService(flags *flag.FlagSet) component {
	o := &keyServiceOptions{}
	flags.StringVar(&o.socket, "socket", "/run/acmeca-keyservice/private/socket", "`path` of the unix socket; its directory is made if it does not exist, and must belong to this user")
	flags.StringVar(&o.files, "files", "", "`directory` with private keys in PEM, each in a file NAMESPACE.NAME.pem, for tests and for trying out")
	flags.IntVar(&o.concurrent, "concurrency", 32, "`number` of concurrent calls of the key store")
	return o.run
}

func (o *keyServiceOptions) run(ctx context.Context) error {
	backend, err := o.backend()
	if err != nil {
		return fmt.Errorf("keyservice: %w", err)
	}
	listener, err := keyservice.Listen(o.socket)
	if err != nil {
		return fmt.Errorf("keyservice: %w", err)
	}
	logger := logf.FromContext(ctx).WithName("keyservice")
	logger.Info("serving", "socket", o.socket, "backend", backend.Name())
	return keyservice.NewServer(backend, o.concurrent, logger).Serve(ctx, listener)
}

func (o *keyServiceOptions) backend() (keyservice.Backend, error) {
	if o.files == "" {
		return nil, errors.New("--files is missing")
	}
	return file.Open(o.files)
}
