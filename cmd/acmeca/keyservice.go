package main

import (
	"context"
	"errors"
	"flag"
	"fmt"

	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/acmeca/acmeca/internal/keyservice"
	"github.com/acmeca/acmeca/internal/keyservice/file"
	"github.com/acmeca/acmeca/internal/keyservice/transit"
)

type keyServiceOptions struct {
	socket, files string
	concurrent    int
	transit       transit.Config
}

// keyService adds the flags of `acmeca keyservice`.
func keyService(flags *flag.FlagSet) component {
	o := &keyServiceOptions{}
	flags.StringVar(&o.socket, "socket", "/run/acmeca-keyservice/private/socket", "`path` of the unix socket; its directory is made if it does not exist, and must belong to this user")
	flags.StringVar(&o.files, "files", "", "`directory` with private keys in PEM, each in a file NAMESPACE.NAME.pem, for tests and for trying out")
	flags.StringVar(&o.transit.Address, "transit", "", "https `URL` of OpenBao or Vault, whose transit engine holds the keys")
	flags.StringVar(&o.transit.Mount, "transit-mount", "transit", "`path` of the transit engine")
	flags.StringVar(&o.transit.CAFile, "transit-ca", "", "`file` with the CA certificates that verify the server (default those of the system)")
	flags.StringVar(&o.transit.Namespace, "transit-namespace", "", "`namespace` of the server, if it has namespaces")
	flags.StringVar(&o.transit.AuthMount, "transit-auth-mount", "kubernetes", "`path` of the Kubernetes auth method")
	flags.StringVar(&o.transit.Role, "transit-role", "acmeca", "`role` to log in with")
	flags.StringVar(&o.transit.TokenFile, "transit-token", "/var/run/secrets/kubernetes.io/serviceaccount/token",
		"`file` with the token of the ServiceAccount")
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
	switch {
	case (o.files == "") == (o.transit.Address == ""):
		return nil, errors.New("set --files or --transit")
	case o.files != "":
		return file.Open(o.files)
	}
	return transit.New(o.transit)
}
