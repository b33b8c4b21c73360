package matrix

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/freeport"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/test/internal/programs"
)

// site holds the name, directory and ports of one session of a client.
type site struct {
	name     string // the certificate's
	issuer   string // AcmeIssuer
	base     string // of the issuer's URLs
	dir      string // for the client's state
	webroot  string // directory that tokens are served from
	port     int    // of loopback, which challenges for the name are passed to if the webroot hasn't the token
	external *externalKey
	host     *host
}

// siteName returns the name of the certificates of a client at an issuer.
func siteName(issuer, label string) string { return fmt.Sprintf("%s.%s.test", issuer, label) }

// newSite makes a directory, and routes the name's challenges there. Validation fails for the delay, from its first attempt.
func newSite(label, issuer string, delay time.Duration) (*site, error) {
	dir, err := os.MkdirTemp("", "acmeca-matrix-")
	if err != nil {
		return nil, err
	}
	s := &site{name: siteName(issuer, label), issuer: issuer, base: acmeca.BaseURL(), dir: dir, webroot: filepath.Join(dir, "webroot")}
	// Some clients drop their privileges before they write tokens.
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(s.webroot, 0o755), os.Chmod(s.webroot, 0o777), freeport.Choose(&s.port)); err != nil {
		return nil, err
	}
	s.host = answers.add(s.name, s.webroot, s.port, delay)
	return s, nil
}

func (s *site) directory() string {
	return fmt.Sprintf("%s/%s/%s/acme/directory", s.base, local.Namespace, s.issuer)
}

func (s *site) path(elements ...string) string {
	return filepath.Join(append([]string{s.dir}, elements...)...)
}

func (s *site) write(name, text string) error {
	return os.WriteFile(s.path(name), []byte(text), 0o600)
}

// run runs a program to its end, and returns its standard output. The error has all of its output.
func (s *site) run(ctx context.Context, environment []string, program string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, programs.Path(program), args...)
	cmd.Env = append(os.Environ(), environment...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with its children, which it may leave behind
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s%s", program, strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.Bytes(), nil
}

// runTrusting is run for a program that trusts the system's CAs alone. The directory of those CAs is another one for the
// program, in a mount namespace of its own.
func (s *site) runTrusting(ctx context.Context, environment []string, program string, args ...string) ([]byte, error) {
	const certificates = "/etc/ssl/certs"
	trust := s.path("trust")
	if _, err := os.Stat(trust); err != nil {
		text, err := os.ReadFile(acmeca.CAFile())
		if err := errors.Join(err, os.Mkdir(trust, 0o755), os.WriteFile(filepath.Join(trust, "ca-certificates.crt"), text, 0o644)); err != nil {
			return nil, err
		}
		if _, err := s.run(ctx, nil, "openssl", "rehash", trust); err != nil {
			return nil, err
		}
	}
	args = append([]string{"--mount", "sh", "-c", `mount --bind "$0" ` + certificates + ` && exec "$@"`, trust, programs.Path(program)}, args...)
	if os.Getuid() != 0 {
		args = append([]string{"--map-root-user"}, args...)
	}
	return s.run(ctx, environment, "unshare", args...)
}

// whileRunning runs a server until done succeeds, which whileRunning calls every 200 ms.
func (s *site) whileRunning(ctx context.Context, environment []string, program string, args []string, done func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := s.run(ctx, environment, program, args...)
		ended <- err
	}()
	for {
		err := done(ctx)
		if err == nil {
			cancel()
			<-ended
			return nil
		}
		select {
		case failure := <-ended:
			return fmt.Errorf("%w; last: %w", failure, err)
		case <-ctx.Done():
			return fmt.Errorf("%w: %w; %w", ctx.Err(), err, <-ended)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// check verifies a chain as a relying party does, and finds the AcmeOrder that it came from.
func (s *site) check(ctx context.Context, chain []byte) (*v1alpha1.AcmeOrder, error) {
	certificates, err := parseChain(chain)
	if err != nil {
		return nil, err
	}
	issuer, err := getIssuer(ctx, s.issuer)
	if err != nil {
		return nil, err
	}
	options := x509.VerifyOptions{DNSName: s.name, Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool()}
	options.Roots.AppendCertsFromPEM([]byte(issuer.Status.CABundle))
	for _, certificate := range certificates[1:] {
		options.Intermediates.AddCert(certificate)
	}
	if _, err := certificates[0].Verify(options); err != nil {
		return nil, err
	}
	orders, err := s.orders(ctx)
	if err != nil {
		return nil, err
	}
	for _, order := range orders {
		issued, err := parseChain([]byte(order.Status.Certificate))
		if err != nil || !issued[0].Equal(certificates[0]) {
			continue
		}
		var account v1alpha1.AcmeAccount
		if err := cluster.Get(ctx, client.ObjectKey{Namespace: order.Namespace, Name: order.Spec.AccountRef.Name}, &account); err != nil {
			return nil, err
		}
		if order.Status.State != acme.StateValid || account.Status.State != acme.StateValid {
			return nil, fmt.Errorf("order %s is %s, account %s is %s", order.Name, order.Status.State, account.Name, account.Status.State)
		}
		return &order, nil
	}
	return nil, fmt.Errorf("no AcmeOrder has the certificate for %s", s.name)
}

// orders are the AcmeOrders for the site's name.
func (s *site) orders(ctx context.Context) ([]v1alpha1.AcmeOrder, error) {
	var list v1alpha1.AcmeOrderList
	if err := cluster.List(ctx, &list, client.InNamespace(local.Namespace)); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list.Items, func(order v1alpha1.AcmeOrder) bool {
		return !slices.ContainsFunc(order.Spec.Identifiers, func(id v1alpha1.Identifier) bool { return id.Value == s.name })
	}), nil
}

func parseChain(text []byte) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		chain = append(chain, certificate)
	}
	if len(chain) == 0 {
		return nil, errors.New("no certificate in the text")
	}
	return chain, nil
}
