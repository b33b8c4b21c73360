package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/acmeca/acmeca/controllers/validation"
	"github.com/acmeca/acmeca/controllers/validation/network"
	"github.com/acmeca/acmeca/controllers/validation/perspective"
	"github.com/acmeca/acmeca/internal/listen"
)

type validatorOptions struct {
	listen, health    string
	tlsDir, clientCA  string
	clientNames       listFlag
	resolvers         listFlag
	resolversOnly     bool
	clusterDomain     string
	allow, deny       listFlag
	httpPort, tlsPort int
	httpsPort         int
	timeout           time.Duration
	concurrent        int
	perHost           int
}

// validator adds the flags of `acmeca validator`, a remote perspective. It validates for controllers elsewhere and needs no API server.
func validator(flags *flag.FlagSet) component {
	o := &validatorOptions{}
	flags.StringVar(&o.listen, "listen", ":9443", "`address` to serve controllers on")
	flags.StringVar(&o.health, "health-listen", ":8081", "`address` for /healthz and /readyz; 0 disables it")
	flags.StringVar(&o.tlsDir, "tls-dir", "/etc/acmeca/tls", "`directory` with tls.crt and tls.key, which are reloaded when they change")
	flags.StringVar(&o.clientCA, "client-ca", "", "`file` with the CA certificates that verify the controllers' certificates (default ca.crt in --tls-dir)")
	flags.Var(&o.clientNames, "client-name", "DNS `name` that a controller's certificate must have; repeatable, one of them suffices (default any certificate under --client-ca)")
	flags.Var(&o.resolvers, "resolver", "`address` of a DNS server, with or without a port; repeatable (default those of the host)")
	flags.BoolVar(&o.resolversOnly, "resolvers-only", false, "look up TXT records at the resolvers alone, not at the authoritative servers first")
	flags.StringVar(&o.clusterDomain, "cluster-domain", "cluster.local", "`domain` of the cluster's Services, appended to names that end in .svc")
	flags.Var(&o.allow, "allow", "`CIDR` that validation may connect to although it is closed by default, such as loopback; repeatable")
	flags.Var(&o.deny, "deny", "`CIDR` that validation must never connect to, whatever --allow says; repeatable")
	flags.IntVar(&o.httpPort, "http-port", validation.DefaultHTTPPort, "`port` for http-01")
	flags.IntVar(&o.httpsPort, "https-port", validation.DefaultHTTPSPort, "`port` that http-01 may follow redirects to, beside --http-port")
	flags.IntVar(&o.tlsPort, "tls-port", validation.DefaultTLSPort, "`port` for tls-alpn-01")
	flags.DurationVar(&o.timeout, "timeout", validation.DefaultTimeout, "maximum `time` for one validation")
	flags.IntVar(&o.concurrent, "concurrency", perspective.DefaultConcurrent, "`number` of concurrent validations")
	flags.IntVar(&o.perHost, "connections-per-host", network.DefaultPerHost, "`number` of concurrent connections to one address")
	return o.run
}

func (o *validatorOptions) run(ctx context.Context) error {
	v, err := o.newValidator()
	if err != nil {
		return fmt.Errorf("validator: %w", err)
	}
	if o.clientCA == "" {
		o.clientCA = filepath.Join(o.tlsDir, "ca.crt")
	}
	certificate := &serverCertificate{}
	if !certificate.wait(ctx, o.tlsDir) {
		return nil
	}
	logger := logf.FromContext(ctx).WithName("validator")
	listener, err := tls.Listen("tcp", o.listen, o.tlsConfig(certificate))
	if err != nil {
		return fmt.Errorf("validator: %w", err)
	}
	server := perspective.NewServer(v, o.concurrent)
	server.Observe = observer(logger)
	servers := []*http.Server{o.httpServer(server, logger)}
	ended := make(chan error, 2)
	go func() { ended <- servers[0].Serve(listener) }()
	if o.health != "0" {
		servers = append(servers, o.httpServer(http.HandlerFunc(healthy), logger))
		servers[1].Addr = o.health
		go func() { ended <- servers[1].ListenAndServe() }()
	}
	logger.Info("serving", "address", listener.Addr().String())
	select {
	case err = <-ended:
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	for _, s := range servers {
		err = errors.Join(err, s.Shutdown(last))
	}
	return err
}

func (o *validatorOptions) newValidator() (*validation.Validator, error) {
	c := validation.Config{
		Resolvers: o.resolvers, ResolversOnly: o.resolversOnly, ClusterDomain: o.clusterDomain,
		HTTPPort: o.httpPort, HTTPSPort: o.httpsPort, TLSPort: o.tlsPort,
		Timeout: o.timeout, Protected: apiServerAddresses(), Hosts: network.NewHosts(o.perHost),
	}
	var err error
	if c.Allow, err = parseCIDRs("--allow", o.allow); err != nil {
		return nil, err
	}
	if c.Deny, err = parseCIDRs("--deny", o.deny); err != nil {
		return nil, err
	}
	return validation.New(c)
}

// tlsConfig requires a client certificate under --client-ca. It reads that file for each connection, so a new CA counts at once;
// connections are few.
func (o *validatorOptions) tlsConfig(certificate *serverCertificate) *tls.Config {
	config := &tls.Config{
		MinVersion: tls.VersionTLS12, GetCertificate: certificate.GetCertificate, NextProtos: []string{"h2", "http/1.1"},
		ClientAuth: tls.RequireAndVerifyClientCert, VerifyConnection: o.checkName,
	}
	return &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		text, err := os.ReadFile(o.clientCA)
		if err != nil {
			return nil, err
		}
		fresh := config.Clone()
		fresh.ClientCAs = x509.NewCertPool()
		if !fresh.ClientCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s has no certificate", o.clientCA)
		}
		return fresh, nil
	}}
}

// checkName refuses certificates that the same CA issued for other names.
func (o *validatorOptions) checkName(state tls.ConnectionState) error {
	if len(o.clientNames) == 0 {
		return nil
	}
	for _, name := range state.PeerCertificates[0].DNSNames {
		if slices.Contains(o.clientNames, name) {
			return nil
		}
	}
	return errors.New("the client's certificate has no name given by --client-name")
}

// httpServer returns a server whose answers may take as long as a validation.
func (o *validatorOptions) httpServer(handler http.Handler, logger logr.Logger) *http.Server {
	server := listen.NewServer(context.Background(), handler,
		func(text string) { logger.Info("connection refused", "reason", strings.TrimSpace(text)) })
	server.WriteTimeout = o.timeout + listen.ReadTimeout + 5*time.Second
	return server
}

func healthy(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/healthz" && r.URL.Path != "/readyz" {
		http.NotFound(w, r)
		return
	}
	fmt.Fprintln(w, "ok")
}

// observer returns a function that logs each validation.
func observer(logger logr.Logger) func(*http.Request, validation.Request, validation.Result) {
	return func(r *http.Request, asked validation.Request, result validation.Result) {
		values := []any{
			"client", r.TLS.PeerCertificates[0].Subject.String(), "address", r.RemoteAddr,
			"identifier", asked.Identifier.Value, "wildcard", asked.Wildcard,
			"challenge", asked.Type, "valid", result.Valid, "milliseconds", result.Record.DurationMillis,
		}
		if result.Problem != nil {
			values = append(values, "problem", result.Problem.Error())
		}
		logger.Info("checked", values...)
	}
}
