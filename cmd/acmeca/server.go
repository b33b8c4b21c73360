package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/acmeca/acmeca/acmeserver"
	"github.com/acmeca/acmeca/acmeserver/store"
	"github.com/acmeca/acmeca/internal/informer"
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
	limits     limits
}

// server adds the flags of the ACME server.
func (o *options) server(flags *flag.FlagSet, prefix string) component {
	s := &serverOptions{}
	flags.StringVar(&s.kubeconfig, prefix+"kubeconfig", "", "kubeconfig `file` for the ACME server; not needed inside a cluster")
	flags.StringVar(&s.health, prefix+"health-listen", ":8081", "`address` for /healthz and /readyz of the ACME server")
	flags.StringVar(&s.metrics, prefix+"metrics-listen", "0", "`address` for /metrics of the ACME server; 0 disables it")
	flags.StringVar(&s.pprof, prefix+"pprof-listen", "", "`address` for /debug/pprof of the ACME server, which must not be reachable from outside; disabled by default")
	flags.StringVar(&s.listen, "listen", ":8443", "`address` to serve ACME on")
	flags.StringVar(&s.plain, "plain-listen", ":8080", "`address` to serve CRLs and CA certificates on, over plain HTTP")
	flags.StringVar(&s.tlsDir, "tls-dir", "/etc/acmeca/tls", "`directory` with tls.crt and tls.key, which are reloaded when they change")
	flags.DurationVar(&s.delay, "shutdown-delay", 0, "`time` to continue serving after the signal to stop, until load balancers send no more requests")
	s.replicas.bind(flags)
	flags.Var(&s.proxies, "trusted-proxy", "`CIDR` of proxies in front of the ACME server, whose X-Forwarded-For names the client; repeatable")
	flags.BoolVar(&s.proxied, "proxy-protocol", false, "require a PROXY protocol header, which names the client, on connections from --trusted-proxy, on both ports")
	flags.Float64Var(&s.qps, prefix+"kube-api-qps", 1000, "maximum requests per second from the ACME server to the API server")
	s.limits.bind(flags)
	return func(ctx context.Context) error {
		if err := o.runServer(ctx, s); err != nil {
			return fmt.Errorf("ACME server: %w", err)
		}
		return nil
	}
}

func (o *options) runServer(ctx context.Context, s *serverOptions) error {
	proxies, err := s.check()
	if err != nil {
		return err
	}
	finished := store.NewFinishedOrders()
	informers := informer.New(informer.Options{Orders: finished})
	mgr, err := o.serverManager(s, informers)
	if err != nil {
		return err
	}
	// live reads past the cache; the ACME server reads cached objects from the cache itself.
	live, err := informers.NewClient(mgr.GetConfig(), client.Options{
		HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(),
		FieldOwner: "acmeca-server", FieldValidation: "Strict",
	})
	if err != nil {
		return err
	}
	nonces, peers, err := s.replicas.source()
	if err != nil {
		return err
	}
	tracer, stopTracing, err := newTracer(ctx, "acmeca-server")
	if err != nil {
		return err
	}
	defer stopTracing()
	acme, err := acmeserver.New(ctx, mgr.GetCache(), live, acmeserver.Options{
		Finished:      finished,
		DefaultIssuer: types.NamespacedName(o.defaultIssuer), Namespaces: o.watch,
		Nonces: nonces, Peers: peers, TrustedProxies: proxies, Metrics: metrics.Registry, Tracer: tracer,
		MaxRequests: s.limits.requests, MaxRequestsPerClient: s.limits.requestsPerClient, MaxBodyBytes: s.limits.bodyBytes, Now: newClock().Now,
	})
	if err != nil {
		return err
	}
	l := &listeners{options: s, acme: acme, proxies: proxies}
	if err := l.certificate.follow(ctx, mgr.GetCache(), client.ObjectKey(o.defaultIssuer)); err != nil {
		return err
	}
	if err := addListeners(mgr, l, informers); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

// check returns the trusted proxies.
func (s *serverOptions) check() ([]netip.Prefix, error) {
	if err := s.limits.check(); err != nil {
		return nil, err
	}
	proxies, err := parseCIDRs("--trusted-proxy", s.proxies)
	if err != nil {
		return nil, err
	}
	if s.proxied && len(proxies) == 0 {
		return nil, errors.New("--proxy-protocol needs a --trusted-proxy: headers from other addresses are not trusted")
	}
	return proxies, nil
}

func (o *options) serverManager(s *serverOptions, informers *informer.Informers) (ctrl.Manager, error) {
	config, err := restConfig(s.kubeconfig)
	if err != nil {
		return nil, err
	}
	return newManager(config, ctrl.Options{
		Cache:                  informers.CacheOptions(o.watch...),
		HealthProbeBindAddress: s.health,
		Metrics:                metricsserver.Options{BindAddress: s.metrics},
		PprofBindAddress:       s.pprof,
		// The caches must outlive the requests in flight.
		GracefulShutdownTimeout: ptr.To(s.delay + shutdownTimeout + s.replicas.linger + time.Second),
	}, s.qps)
}

// addListeners adds the listeners, their metric and the checks to the manager.
func addListeners(mgr manager.Manager, l *listeners, informers *informer.Informers) error {
	if err := metrics.Registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "acmeca_server_certificate_expiry_timestamp_seconds", Help: "notAfter of the ACME server's TLS certificate, in Unix seconds; 0 if there is none.",
	}, l.certificate.expiry)); err != nil {
		return err
	}
	if err := mgr.Add(l); err != nil {
		return err
	}
	if err := addChecks(mgr, informers); err != nil {
		return err
	}
	return mgr.AddReadyzCheck("listening", l.ready)
}
