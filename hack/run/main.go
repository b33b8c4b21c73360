// Command run runs acmeca on loopback with its own control plane, obtains a first certificate as a self-check, and
// serves until it is interrupted: `make run`.
//
// ISSUER names a file with the AcmeIssuer to serve; SELFCHECK=0 skips the first certificate. State is kept in
// .local/.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/acmeca/acmeca/internal/test/binaries"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/internal/test/project"
)

func main() {
	dir := flag.String("dir", "", "the `directory` of the state (default .local in the source tree)")
	freePorts := flag.Bool("free-ports", false, "listen on free ports instead of the documented ones")
	withParent := flag.Bool("stop-with-parent", false, "stop when the parent process ends")
	flag.Parse()
	// A second Ctrl-C ends the program at once, and with it its children.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop)
	if *withParent {
		stopWithParent()
	}
	log.SetLogger(logr.Discard()) // the operator's log has the libraries' messages
	if err := run(ctx, *dir, *freePorts); err != nil {
		fmt.Fprintln(os.Stderr, "\nacmeca is not running:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, freePorts bool) error {
	root, err := project.Root()
	if err != nil {
		return err
	}
	if dir == "" {
		dir = filepath.Join(root, ".local")
	}
	ports := local.DefaultPorts
	if freePorts {
		if ports, err = local.FreePorts(); err != nil {
			return err
		}
	}
	if err := binaries.Ensure(ctx, os.Stdout, append(binaries.Default, "acmeca")...); err != nil {
		return interrupted(ctx, err)
	}
	l, err := local.Start(ctx, local.Options{
		Dir:        dir,
		Operator:   filepath.Join(root, "bin", "acmeca"),
		IssuerFile: os.Getenv("ISSUER"),
		Ports:      ports,
		Progress:   &stamper{out: os.Stdout, start: time.Now()},
	})
	if err != nil {
		return interrupted(ctx, err)
	}
	defer l.Stop()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	go func() {
		select {
		case err := <-l.Failures():
			fail(err)
		case <-ctx.Done():
		}
	}()
	if os.Getenv("SELFCHECK") != "0" {
		if err := selfCheck(ctx, l, dir); err != nil {
			return interrupted(ctx, fmt.Errorf("the self-check failed: %w", err))
		}
	}
	showObjects(ctx, l)
	showUse(l, dir)
	<-ctx.Done()
	fmt.Println("\nstopping; a second Ctrl-C stops at once")
	return interrupted(ctx, nil)
}

// interrupted replaces an error by the cause of the context's end: none after an interrupt, or the failure of a
// child.
func interrupted(ctx context.Context, err error) error {
	switch cause := context.Cause(ctx); {
	case cause == nil:
		return err
	case errors.Is(cause, context.Canceled):
		return nil
	default:
		return cause
	}
}

// showObjects prints the created objects, as `kubectl get` does.
func showObjects(ctx context.Context, l *local.Local) {
	dir, err := binaries.Find("kubectl")
	if err != nil {
		return // KUBEBUILDER_ASSETS may lack kubectl
	}
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "kubectl"), "--kubeconfig", l.Kubeconfig(), "get", "acme", "-A")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	fmt.Println("\n$ kubectl get acme -A")
	_ = cmd.Run() // kubectl prints its own errors
}

func showUse(l *local.Local, dir string) {
	http01 := l.Ports().HTTP01
	fmt.Printf(`
ACME directory: %[1]s

Every name under .test resolves to 127.0.0.1 here, and http-01 is tried on port %[2]d. In another terminal:

  export KUBECONFIG=%[4]s
  kubectl get acme -A                                        # bin/kubectl, if you have none

  curl --cacert %[3]s %[1]s

  REQUESTS_CA_BUNDLE=%[3]s certbot certonly --standalone \
    --http-01-port %[2]d -d hello.test --server %[1]s \
    --agree-tos --register-unsafely-without-email \
    --config-dir %[5]s/certbot --work-dir %[5]s/certbot --logs-dir %[5]s/certbot

  LEGO_CA_CERTIFICATES=%[3]s lego --path %[5]s/lego --server %[1]s \
    --http --http.port :%[2]d -d hello.test --email you@hello.test --accept-tos run

Names without a challenge: grant names below granted.test to a key, create the key, and give it to a client.

  kubectl apply --server-side --field-manager=demo -f config/samples/grant/default.yaml
  kubectl acme eab create default -n acmeca-system --id demo

Logs are in %[5]s/log. Ctrl-C stops everything; the state stays in %[5]s (make clean-local forgets it).
`, l.DirectoryURL(), http01, l.CAFile(), l.Kubeconfig(), dir)
}
