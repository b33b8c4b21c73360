package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/cert-manager/cert-manager/pkg/controller"
	"github.com/cert-manager/cert-manager/pkg/healthz"
	"github.com/cert-manager/cert-manager/pkg/util/feature"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/api/resource"
	cliflag "k8s.io/component-base/cli/flag"
	"sigs.k8s.io/yaml"

	// Each package registers its controller.
	_ "github.com/cert-manager/cert-manager/pkg/controller/acmechallenges"
	_ "github.com/cert-manager/cert-manager/pkg/controller/acmeorders"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificate-shim/gateways"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificate-shim/ingresses"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/acme"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/approver"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/issuing"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/keymanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/readiness"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/requestmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/revisionmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/trigger"
	_ "github.com/cert-manager/cert-manager/pkg/controller/clusterissuers"
	_ "github.com/cert-manager/cert-manager/pkg/controller/issuers"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/acme"
)

// These are the release's defaults. The release's own code for them imports a module that isn't published any more.
const (
	workers        = 5 // of each controller
	maximumBackoff = 32 * time.Hour
	healthzTimeout = 20 * time.Second
	queries, burst = 20, 50 // of requests to an API server without priority and fairness
)

// A settings holds the flags that cert-manager's chart and tests set.
type settings struct {
	file, health string
	gates        map[string]bool
	gatewayAPI   bool
	options      controller.ContextOptions
}

func readSettings(args []string) (*settings, error) {
	s := &settings{options: defaultOptions()}
	acme, o := &s.options.ACMEOptions, &s.options
	var recursiveOnly bool
	flags := pflag.NewFlagSet("controller", pflag.ContinueOnError)
	flags.StringVar(&s.file, "config", "", "file with a ControllerConfiguration; enableGatewayAPI is its only field that counts")
	flags.StringVar(&s.health, "healthz-listen-address", "0.0.0.0:9403", "")
	flags.Var(cliflag.NewMapStringBool(&s.gates), "feature-gates", "")
	flags.BoolVar(&s.gatewayAPI, "enable-gateway-api", false, "")
	flags.Int("v", 0, "unused")
	flags.String("leader-election-namespace", "", "unused")
	flags.StringVar(&o.Kubeconfig, "kubeconfig", "", "")
	flags.StringVar(&o.ClusterResourceNamespace, "cluster-resource-namespace", "kube-system", "")
	flags.StringVar(&acme.HTTP01SolverImage, "acme-http01-solver-image", "acmesolver", "")
	flags.StringSliceVar(&acme.HTTP01SolverNameservers, "acme-http01-solver-nameservers", nil, "")
	flags.StringSliceVar(&acme.DNS01Nameservers, "dns01-recursive-nameservers", nil, "")
	flags.BoolVar(&recursiveOnly, "dns01-recursive-nameservers-only", false, "")
	flags.DurationVar(&acme.DNS01CheckRetryPeriod, "dns01-check-retry-period", 10*time.Second, "")
	flags.DurationVar(&o.CertificateRequestMinimumBackoffDuration, "certificate-request-minimum-backoff-duration", time.Hour, "")
	flags.IntVar(&o.MaxConcurrentChallenges, "max-concurrent-challenges", 60, "")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	acme.DNS01CheckAuthoritative = !recursiveOnly
	if s.file != "" {
		var file struct{ EnableGatewayAPI bool }
		text, err := os.ReadFile(s.file)
		if err != nil {
			return nil, err
		}
		if err := yaml.Unmarshal(text, &file); err != nil {
			return nil, err
		}
		s.gatewayAPI = s.gatewayAPI || file.EnableGatewayAPI
	}
	o.EnableGatewayAPI = s.gatewayAPI
	return s, nil
}

func defaultOptions() controller.ContextOptions {
	memory := resource.MustParse("64Mi")
	return controller.ContextOptions{
		KubernetesAPIQPS: queries, KubernetesAPIBurst: burst,
		ACMEOptions: controller.ACMEOptions{
			HTTP01SolverResourceRequestCPU:    resource.MustParse("10m"),
			HTTP01SolverResourceRequestMemory: memory,
			HTTP01SolverResourceLimitsCPU:     resource.MustParse("100m"),
			HTTP01SolverResourceLimitsMemory:  memory,
			ACMEHTTP01SolverRunAsNonRoot:      true,
		},
		IngressShimOptions: controller.IngressShimOptions{DefaultIssuerKind: "Issuer", DefaultIssuerGroup: "cert-manager.io"},
		CertificateOptions: controller.CertificateOptions{
			CopiedAnnotationPrefixes:                 []string{"*", "-kubectl.kubernetes.io/", "-fluxcd.io/", "-argocd.argoproj.io/"},
			CertificateRequestMaximumBackoffDuration: maximumBackoff,
		},
	}
}

func runController(ctx context.Context, args []string) error {
	s, err := readSettings(args)
	if err != nil {
		return err
	}
	if err := feature.DefaultMutableFeatureGate.SetFromMap(s.gates); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	factory, err := controller.NewContextFactory(ctx, s.options)
	if err != nil {
		return err
	}
	running, ctx := errgroup.WithContext(ctx)
	if err := serveHealth(ctx, running, s.health); err != nil {
		return err
	}
	for name, construct := range controller.Known() {
		one, err := construct(factory)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		running.Go(func() error { return one.Run(workers, ctx) })
	}
	shared, err := factory.Build()
	if err != nil {
		return err
	}
	shared.SharedInformerFactory.Start(ctx.Done())
	shared.KubeSharedInformerFactory.Start(ctx.Done())
	shared.HTTP01ResourceMetadataInformersFactory.Start(ctx.Done())
	if s.gatewayAPI {
		shared.GWShared.Start(ctx.Done())
	}
	return running.Wait()
}

// serveHealth answers the liveness probe of the chart.
func serveHealth(ctx context.Context, running *errgroup.Group, address string) error {
	if address == "" {
		return nil
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	running.Go(func() error { return healthz.NewServer(healthzTimeout).Start(ctx, listener) })
	return nil
}
