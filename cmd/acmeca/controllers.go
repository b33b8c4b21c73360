package main

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/acmeca/acmeca/controllers"
	"github.com/acmeca/acmeca/controllers/budget"
	"github.com/acmeca/acmeca/controllers/inventory"
	"github.com/acmeca/acmeca/internal/informer"
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
	maxIssuers  int
	pods        bool
	qps         float64
	stored      storedLimits
	keyService  string
}

// controllers adds the flags of the controllers.
func (o *options) controllers(flags *flag.FlagSet, prefix string) component {
	c := &controllerOptions{}
	flags.StringVar(&c.kubeconfig, prefix+"kubeconfig", "", "kubeconfig `file` for the controllers; not needed inside a cluster")
	flags.StringVar(&c.health, prefix+"health-listen", ":8081", "`address` for /healthz and /readyz of the controllers")
	flags.StringVar(&c.metrics, prefix+"metrics-listen", "0", "`address` for /metrics of the controllers; 0 disables it")
	flags.StringVar(&c.pprof, prefix+"pprof-listen", "", "`address` for /debug/pprof of the controllers, which must not be reachable from outside; disabled by default")
	flags.BoolVar(&c.elect, "leader-elect", false, "run the controllers in only one replica at a time, elected by a Lease")
	flags.StringVar(&c.tlsSecret, "server-tls-secret", "", "`name` of the Secret in --namespace in which to keep the ACME server's TLS certificate; none is made by default")
	flags.StringVar(&c.replicas, "server-replica-secret", "", "`name` of the Secret in --namespace in which to keep the keys shared by the ACME server's replicas; none is made by default")
	flags.Var(&c.serverNames, "server-name", "additional DNS `name` or IP address in the ACME server's TLS certificate, beside the hosts of the default issuer's URLs; repeatable")
	flags.Var(&c.denied, "deny", "`CIDR` that validation, resolvers, perspectives and proxies must never connect to, whatever an issuer allows; repeatable")
	flags.StringVar(&c.keyService, "key-service", "", "`path` of the unix socket of a key service, for CA keys that are not in Secrets; none by default")
	flags.IntVar(&c.maxIssuers, "max-issuers-per-namespace", 100, "`number` of issuers to serve in each namespace, the oldest first; 0 for no limit")
	flags.BoolVar(&c.pods, "pod-certificates", false, "issue certificates to Pods (PodCertificateRequest), from issuers with spec.podCertificates; needs Kubernetes 1.37 and the rights of config/pod-certificates")
	flags.IntVar(&c.concurrency, "concurrency", 32, "`number` of objects of each kind to reconcile concurrently")
	flags.Float64Var(&c.qps, prefix+"kube-api-qps", 1000, "maximum requests per second from the controllers to the API server")
	c.stored.bind(flags)
	return func(ctx context.Context) error {
		if err := o.runControllers(ctx, c); err != nil {
			return fmt.Errorf("controllers: %w", err)
		}
		return nil
	}
}

func (o *options) runControllers(ctx context.Context, c *controllerOptions) error {
	config, err := restConfig(c.kubeconfig)
	if err != nil {
		return err
	}
	denied, err := parseCIDRs("--deny", c.denied)
	if err != nil {
		return err
	}
	ceilings, err := c.stored.limits()
	if err != nil {
		return err
	}
	stored := budget.New(ceilings)
	orders := inventory.New(stored)
	informers := informer.New(informer.Options{Count: stored.Add, Orders: orders})
	managed := ctrl.Options{
		Cache:                  informers.CacheOptions(o.watch...),
		NewClient:              informers.NewClient,
		Client:                 controllers.ClientOptions(),
		HealthProbeBindAddress: c.health,
		Metrics:                metricsserver.Options{BindAddress: c.metrics},
		PprofBindAddress:       c.pprof,
	}
	setup := o.setupOptions(c)
	if c.elect {
		if setup.Leads, err = elect(&managed, config, o.namespace); err != nil {
			return err
		}
	}
	mgr, err := newManager(config, managed, c.qps)
	if err != nil {
		return err
	}
	if err := o.checkInstallations(ctx, mgr); err != nil {
		return err
	}
	tracer, stopTracing, err := newTracer(ctx, "acmeca-controller")
	if err != nil {
		return err
	}
	defer stopTracing()
	setup.Denied, setup.Tracer, setup.Budget, setup.Inventory, setup.Namespaces = denied, tracer, stored, orders, o.watch
	if err := controllers.Setup(ctx, mgr, setup); err != nil {
		return err
	}
	if err := addChecks(mgr, informers); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

func (o *options) setupOptions(c *controllerOptions) controllers.Options {
	return controllers.Options{
		ExternalURLs:        o.urls(),
		PlainURL:            o.plain(),
		DefaultIssuer:       client.ObjectKey(o.defaultIssuer),
		ServerTLSSecret:     client.ObjectKey{Namespace: o.namespace, Name: c.tlsSecret},
		ServerReplicaSecret: client.ObjectKey{Namespace: o.namespace, Name: c.replicas},
		ServerNames:         c.serverNames,
		Protected:           apiServerAddresses(),
		Concurrency:         c.concurrency,
		MaxIssuers:          c.maxIssuers,
		PodCertificates:     c.pods,
		Clock:               newClock(),
		Metrics:             metrics.Registry,
		KeyService:          c.keyService,
	}
}

// apiServerAddresses returns the API server's address as Pods see it. Validation must not connect to it.
func apiServerAddresses() []netip.Prefix {
	addr, err := netip.ParseAddr(os.Getenv("KUBERNETES_SERVICE_HOST"))
	if err != nil {
		return nil
	}
	return []netip.Prefix{netip.PrefixFrom(addr, addr.BitLen())}
}
