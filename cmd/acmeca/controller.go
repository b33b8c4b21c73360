package main

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"

	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/acmeca/acmeca/controllers"
)

type controllerOptions struct {
	kubeconfig  string
	health      string
	metrics     string
	pprof       string
	elect       bool
	tlsSecret   string
	replicas    string
	serverNames listFlag
	denied      listFlag
	concurrency int
	qps         float64
}

// controller adds the flags of the deciding half.
func (o *options) controller(flags *flag.FlagSet, prefix string) half {
	c := &controllerOptions{}
	flags.StringVar(&c.kubeconfig, prefix+"kubeconfig", "", "kubeconfig `file` of the controllers; none inside a cluster")
	flags.StringVar(&c.health, prefix+"health-listen", ":8081", "`address` of /healthz and /readyz of the controllers")
	flags.StringVar(&c.metrics, prefix+"metrics-listen", "0", "`address` of /metrics of the controllers; 0 for none")
	flags.StringVar(&c.pprof, prefix+"pprof-listen", "", "`address` of /debug/pprof of the controllers, which is not to be reached from outside; none by default")
	flags.BoolVar(&c.elect, "leader-elect", false, "let one of several replicas of the controllers work at a time")
	flags.StringVar(&c.tlsSecret, "server-tls-secret", "", "`name` of the Secret in --namespace that the ACME server's TLS certificate is put in; none is made without it")
	flags.StringVar(&c.replicas, "server-replica-secret", "", "`name` of the Secret in --namespace that the secrets are put in which the ACME server's replicas share; none is made without it")
	flags.Var(&c.serverNames, "server-name", "another `name` or address in the ACME server's TLS certificate, beside the hosts of the default issuer's URLs; may be given again")
	flags.Var(&c.denied, "deny", "address range (`CIDR`) that nothing which an issuer names may lead to, whatever it allows: names to be validated, resolvers, perspectives, egress proxies; may be given again")
	flags.IntVar(&c.concurrency, "concurrency", 32, "`number` of objects of a kind that are worked on at once")
	flags.Float64Var(&c.qps, prefix+"kube-api-qps", 1000, "requests a second to the API server, by the controllers")
	return func(ctx context.Context) error { return o.runController(ctx, c) }
}

func (o *options) runController(ctx context.Context, c *controllerOptions) error {
	config, err := restConfig(c.kubeconfig)
	if err != nil {
		return err
	}
	denied, err := parseCIDRs("--deny", c.denied)
	if err != nil {
		return fmt.Errorf("controllers: %w", err)
	}
	mgr, err := newManager(config, ctrl.Options{
		Cache:                         o.caches(controllers.CacheOptions()),
		Client:                        controllers.ClientOptions(),
		HealthProbeBindAddress:        c.health,
		Metrics:                       metricsserver.Options{BindAddress: c.metrics},
		PprofBindAddress:              c.pprof,
		LeaderElection:                c.elect,
		LeaderElectionID:              "controller.acmeca.dev",
		LeaderElectionNamespace:       o.namespace,
		LeaderElectionReleaseOnCancel: true,
	}, c.qps)
	if err != nil {
		return fmt.Errorf("controllers: %w", err)
	}
	tracer, stopTracing, err := newTracer(ctx, "acmeca-controller")
	if err != nil {
		return fmt.Errorf("controllers: %w", err)
	}
	defer stopTracing()
	if err := controllers.Setup(ctx, mgr, controllers.Options{
		ExternalURLs:        o.urls(),
		PlainURL:            o.plain(),
		DefaultIssuer:       client.ObjectKey(o.defaultIssuer),
		ServerTLSSecret:     client.ObjectKey{Namespace: o.namespace, Name: c.tlsSecret},
		ServerReplicaSecret: client.ObjectKey{Namespace: o.namespace, Name: c.replicas},
		ServerNames:         c.serverNames,
		Protected:           apiServerAddresses(),
		Denied:              denied,
		Concurrency:         c.concurrency,
		Clock:               newClock(),
		Metrics:             metrics.Registry,
		Tracer:              tracer,
	}); err != nil {
		return fmt.Errorf("controllers: %w", err)
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	if err := mgr.AddReadyzCheck("caches", synced(mgr)); err != nil {
		return err
	}
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("controllers: %w", err)
	}
	return nil
}

// apiServerAddresses are those of the API server as Pods see it, which a challenge must not be turned against.
func apiServerAddresses() []netip.Prefix {
	addr, err := netip.ParseAddr(os.Getenv("KUBERNETES_SERVICE_HOST"))
	if err != nil {
		return nil
	}
	return []netip.Prefix{netip.PrefixFrom(addr, addr.BitLen())}
}

// newManager makes a manager whose client validates strictly and may send as much as the API server takes: the server's
// own priorities and fairness are the bound, not the client's guess of it.
func newManager(config *rest.Config, o ctrl.Options, qps float64) (ctrl.Manager, error) {
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = float32(qps), int(2*qps)
	config.DisableCompression = true // within a cluster, processors are scarcer than the network
	o.Scheme = scheme
	return ctrl.NewManager(config, o)
}
