package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/acmeca/acmeca/acmeserver"
	"github.com/acmeca/acmeca/internal/ordercache"
)

type serverOptions struct {
	kubeconfig string
	health     string
	metrics    string
	pprof      string
	listen     string
	plain      string
	tlsDir     string
	replicas   replicas
	delay      time.Duration
	proxies    listFlag
	proxied    bool
	qps        float64
	bounds     bounds
}

// server adds the flags of the ACME server.
func (o *options) server(flags *flag.FlagSet, prefix string) half {
	s := &serverOptions{}
	flags.StringVar(&s.kubeconfig, prefix+"kubeconfig", "", "kubeconfig `file` of the ACME server; none inside a cluster")
	flags.StringVar(&s.health, prefix+"health-listen", ":8081", "`address` of /healthz and /readyz of the ACME server")
	flags.StringVar(&s.metrics, prefix+"metrics-listen", "0", "`address` of /metrics of the ACME server; 0 for none")
	flags.StringVar(&s.pprof, prefix+"pprof-listen", "", "`address` of /debug/pprof of the ACME server, which is not to be reached from outside; none by default")
	flags.StringVar(&s.listen, "listen", ":8443", "`address` to serve ACME on")
	flags.StringVar(&s.plain, "plain-listen", ":8080", "`address` to serve CA certificates on over plain HTTP")
	flags.StringVar(&s.tlsDir, "tls-dir", "/etc/acmeca/tls", "`directory` with tls.crt and tls.key, which are read again when they change")
	flags.DurationVar(&s.delay, "shutdown-delay", 0, "`time` for which the ACME server goes on serving after it was told to stop, until nobody sends it requests any more")
	s.replicas.bind(flags)
	flags.Var(&s.proxies, "trusted-proxy", "address range (`CIDR`) of proxies in front of the ACME server, whose X-Forwarded-For says who a client is; may be given again")
	flags.BoolVar(&s.proxied, "proxy-protocol", false, "connections from --trusted-proxy, to both ports, begin with a PROXY protocol header that says who the client is, and are refused without")
	flags.Float64Var(&s.qps, prefix+"kube-api-qps", 1000, "requests a second to the API server, by the ACME server")
	s.bounds.bind(flags)
	return func(ctx context.Context) error { return o.runServer(ctx, s) }
}

func (o *options) runServer(ctx context.Context, s *serverOptions) error {
	if err := s.bounds.check(); err != nil {
		return fmt.Errorf("ACME server: %w", err)
	}
	proxies, err := parseCIDRs("--trusted-proxy", s.proxies)
	if err != nil {
		return err
	}
	if s.proxied && len(proxies) == 0 {
		return errors.New("--proxy-protocol needs a --trusted-proxy: headers of others are not believed")
	}
	config, err := restConfig(s.kubeconfig)
	if err != nil {
		return err
	}
	texts := acmeserver.NewTexts()
	caches := o.caches(texts.CacheOptions())
	caches.NewInformer = ordercache.Packing(caches.NewInformer)
	mgr, err := newManager(config, ctrl.Options{
		Cache:                  caches,
		HealthProbeBindAddress: s.health,
		Metrics:                metricsserver.Options{BindAddress: s.metrics},
		PprofBindAddress:       s.pprof,
		// The caches live until the requests under way are answered.
		GracefulShutdownTimeout: ptr.To(s.delay + shutdownTimeout + s.replicas.linger + time.Second),
	}, s.qps)
	if err != nil {
		return fmt.Errorf("ACME server: %w", err)
	}
	// Past the cache: what is read through it, the ACME server reads from the cache itself.
	live, err := client.New(mgr.GetConfig(), client.Options{
		HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(), FieldOwner: "acmeca-server", FieldValidation: "Strict",
	})
	if err != nil {
		return fmt.Errorf("ACME server: %w", err)
	}
	nonces, peers, err := s.replicas.source()
	if err != nil {
		return fmt.Errorf("ACME server: %w", err)
	}
	tracer, stopTracing, err := newTracer(ctx, "acmeca-server")
	if err != nil {
		return fmt.Errorf("ACME server: %w", err)
	}
	defer stopTracing()
	acme, err := acmeserver.New(ctx, mgr.GetCache(), live, acmeserver.Options{
		Texts:         texts,
		DefaultIssuer: types.NamespacedName(o.defaultIssuer), Namespaces: o.watch, Nonces: nonces, Peers: peers, TrustedProxies: proxies, Metrics: metrics.Registry, Tracer: tracer,
		MaxRequests: s.bounds.requests, MaxRequestsPerClient: s.bounds.requestsPerClient, Now: newClock().Now,
	})
	if err != nil {
		return fmt.Errorf("ACME server: %w", err)
	}
	serving := &listeners{options: s, acme: acme, proxies: proxies}
	if err := metrics.Registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "acmeca_server_certificate_expiry_timestamp_seconds", Help: "When the ACME server's TLS certificate expires; 0 while there is none.",
	}, serving.expiry)); err != nil {
		return fmt.Errorf("ACME server: %w", err)
	}
	if err := mgr.Add(serving); err != nil {
		return err
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	if err := mgr.AddReadyzCheck("caches", synced(mgr)); err != nil {
		return err
	}
	if err := mgr.AddReadyzCheck("listening", serving.ready); err != nil {
		return err
	}
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("ACME server: %w", err)
	}
	return nil
}

// listeners serve ACME over TLS, and what has to be had without it over plain HTTP.
type listeners struct {
	options *serverOptions
	acme    *acmeserver.Server
	proxies []netip.Prefix
	up      atomic.Bool
	// certificate is what TLS is served with; nil until there is one.
	certificate atomic.Pointer[certwatcher.CertWatcher]
}

// The bounds of a connection. An answer may wait acmeserver's longest time for the controllers.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 15 * time.Second
	writeTimeout      = 45 * time.Second
	idleTimeout       = 90 * time.Second
	maxHeaderBytes    = 16 << 10
	maxStreams        = 100 // requests at once on a connection of HTTP/2
	shutdownTimeout   = 20 * time.Second
)

// NeedLeaderElection is false: every replica serves.
func (l *listeners) NeedLeaderElection() bool { return false }

// Start serves until the context ends, and then until the requests under way are answered.
func (l *listeners) Start(ctx context.Context) error {
	watcher := waitForCertificate(ctx, l.options.tlsDir)
	if watcher == nil || l.options.replicas.several() && !l.options.replicas.wait(ctx) {
		return nil
	}
	l.certificate.Store(watcher)
	go func() {
		if err := watcher.Start(ctx); err != nil {
			logf.FromContext(ctx).Error(err, "the TLS certificate is not watched any more")
		}
	}()
	clients, others := newServers(), newServers()
	defer clients.close()
	defer others.close()
	secure := newHTTPServer(ctx, l.acme)
	secure.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: watcher.GetCertificate, NextProtos: []string{"h2", "http/1.1"}}
	if err := clients.add(secure, l.options.listen, l.bound); err != nil {
		return err
	}
	if err := clients.add(newHTTPServer(ctx, l.acme.Plain()), l.options.plain, l.bound); err != nil {
		return err
	}
	if l.options.replicas.several() {
		if err := others.add(l.options.replicas.server(ctx), l.options.replicas.listen, unbound); err != nil {
			return err
		}
	}
	l.up.Store(true)
	defer l.up.Store(false)
	select {
	case err := <-clients.ended:
		return err
	case err := <-others.ended:
		return err
	case <-ctx.Done():
	}
	return l.end(context.WithoutCancel(ctx), clients)
}

// end stops serving so that clients don't notice. No new ones come once it has been seen that the ACME server isn't ready, and
// then what has come is answered. Other replicas ask about the nonces of those clients for a while longer.
func (l *listeners) end(ctx context.Context, clients *servers) error {
	l.up.Store(false)
	time.Sleep(l.options.delay)
	last, cancel := context.WithTimeout(ctx, shutdownTimeout)
	defer cancel()
	err := clients.shutdown(last)
	if l.options.replicas.several() {
		time.Sleep(l.options.replicas.linger)
	}
	return err
}

// bound bounds the connections of a server, those of proxies too, whose word on who a client is comes after that.
func (l *listeners) bound(server *http.Server, inner net.Listener) net.Listener {
	open := newConnections(l.options.bounds.connections, l.options.bounds.connectionsPerClient, l.proxies)
	server.ConnState = open.observe
	if l.options.proxied {
		return proxyProtocol(listener{inner, open}, l.proxies)
	}
	return listener{inner, open}
}

func newHTTPServer(ctx context.Context, handler http.Handler) *http.Server {
	logger := logf.FromContext(ctx).WithName("http")
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeaderBytes,
		HTTP2:          &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		BaseContext:    func(net.Listener) context.Context { return logf.IntoContext(context.WithoutCancel(ctx), logger) },
		// What clients do wrong in TLS is of interest only to those who look for it.
		ErrorLog: log.New(logWriter(func(text string) { logger.V(1).Info(text) }), "", 0),
	}
}

type logWriter func(string)

func (w logWriter) Write(text []byte) (int, error) {
	w(string(text))
	return len(text), nil
}

// waitForCertificate waits for the controllers to have made the TLS certificate, and it to have been mounted. It returns nil
// when the context ends first.
func waitForCertificate(ctx context.Context, dir string) *certwatcher.CertWatcher {
	certificate, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	waiting := false
	for {
		watcher, err := certwatcher.New(certificate, key)
		if err == nil {
			return watcher
		}
		if !waiting {
			logf.FromContext(ctx).Info("waiting for the TLS certificate", "directory", dir, "reason", err.Error())
			waiting = true
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return nil
		}
	}
}

// expiry is when the TLS certificate expires, in seconds since 1970.
func (l *listeners) expiry() float64 {
	watcher := l.certificate.Load()
	if watcher == nil {
		return 0
	}
	pair, err := watcher.GetCertificate(nil)
	if err != nil || len(pair.Certificate) == 0 {
		return 0
	}
	certificate, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return 0
	}
	return float64(certificate.NotAfter.Unix())
}

func (l *listeners) ready(*http.Request) error {
	if !l.up.Load() {
		return errors.New("not listening: there is no TLS certificate yet, or the ACME server is shutting down")
	}
	return nil
}

// synced is ready when the caches are.
func synced(mgr manager.Manager) healthz.Checker {
	return func(r *http.Request) error {
		if !mgr.GetCache().WaitForCacheSync(r.Context()) {
			return errors.New("the caches are not in step with the API server yet")
		}
		return nil
	}
}
