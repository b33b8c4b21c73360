package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/acmeca/acmeca/acmeserver"
	"github.com/acmeca/acmeca/internal/listen"
)

// shutdownTimeout is the time that requests in flight have to finish at shutdown.
const shutdownTimeout = 20 * time.Second

// listeners serve ACME over TLS, and CRLs and CA certificates over plain HTTP. They are a manager.Runnable.
type listeners struct {
	options     *serverOptions
	acme        *acmeserver.Server
	proxies     []netip.Prefix
	up          atomic.Bool
	certificate serverCertificate
}

// NeedLeaderElection returns false: every replica serves.
func (l *listeners) NeedLeaderElection() bool { return false }

// Start serves until ctx ends, and then answers the requests in flight.
func (l *listeners) Start(ctx context.Context) error {
	if !l.certificate.wait(ctx, l.options.tlsDir) || l.options.replicas.several() && !l.options.replicas.wait(ctx) {
		return nil
	}
	clients, others := listen.NewGroup(), listen.NewGroup()
	defer clients.Close()
	defer others.Close()
	secure := newHTTPServer(ctx, l.acme)
	secure.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: l.certificate.GetCertificate,
		NextProtos: []string{"h2", "http/1.1"}}
	if err := clients.Add(secure, l.options.listen, l.limits()); err != nil {
		return err
	}
	if err := clients.Add(newHTTPServer(ctx, l.acme.Plain()), l.options.plain, l.limits()); err != nil {
		return err
	}
	if l.options.replicas.several() {
		if err := others.Add(l.options.replicas.server(ctx), l.options.replicas.listen, nil); err != nil {
			return err
		}
	}
	l.up.Store(true)
	defer l.up.Store(false)
	select {
	case err := <-clients.Ended():
		return err
	case err := <-others.Ended():
		return err
	case <-ctx.Done():
	}
	return l.shutdown(context.WithoutCancel(ctx), clients)
}

// shutdown stops serving without failed requests. It reports unready first and waits until no new clients are sent here. Then it answers
// the requests in flight. Other replicas can ask about nonces for a while longer, since the clients go on there.
func (l *listeners) shutdown(ctx context.Context, clients *listen.Group) error {
	l.up.Store(false)
	time.Sleep(l.options.delay)
	last, cancel := context.WithTimeout(ctx, shutdownTimeout)
	defer cancel()
	err := clients.Shutdown(last)
	if l.options.replicas.several() {
		time.Sleep(l.options.replicas.linger)
	}
	return err
}

func (l *listeners) limits() *listen.Limits {
	return &listen.Limits{
		Connections: l.options.limits.connections, PerClient: l.options.limits.connectionsPerClient,
		Proxies: l.proxies, PROXYProtocol: l.options.proxied,
	}
}

// ready is the readiness check.
func (l *listeners) ready(*http.Request) error {
	if !l.up.Load() {
		return errors.New("not listening: the TLS certificate does not exist yet, or the ACME server is shutting down")
	}
	return nil
}

// newHTTPServer returns a server for untrusted clients. It logs connection errors, which clients can cause, only at verbosity 1.
func newHTTPServer(ctx context.Context, handler http.Handler) *http.Server {
	logger := logf.FromContext(ctx).WithName("http")
	return listen.NewServer(logf.IntoContext(ctx, logger), handler, func(text string) { logger.V(1).Info(text) })
}
