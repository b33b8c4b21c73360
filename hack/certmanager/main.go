// Command cert-manager runs cert-manager's controllers for ACME against the cluster of a kubeconfig, as
// cert-manager's own program does. A go.mod cannot name that program, because it is in no published module.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/cert-manager/cert-manager/pkg/controller"
	logf "github.com/cert-manager/cert-manager/pkg/logs"
	"github.com/cert-manager/cert-manager/pkg/util/feature"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/api/resource"

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

// These flags of cert-manager's program are used by tests.
var (
	kubeconfig     = flag.String("kubeconfig", "", "`file` with the cluster's address and credentials")
	namespace      = flag.String("cluster-resource-namespace", "cert-manager", "`namespace` of ClusterIssuers' Secrets")
	dnsServers     = flag.String("dns01-recursive-nameservers", "", "comma-separated `servers` for dns-01, with ports")
	dnsRetry       = flag.Duration("dns01-check-retry-period", 10*time.Second, "`interval` between checks of a dns-01 record")
	minimumBackoff = flag.Duration("certificate-request-minimum-backoff-duration", time.Hour, "`delay` after a failed request")
	featureGates   = flag.String("feature-gates", "", "`gates`, such as ACMEUseARI=true")
	gatewayAPI     = flag.Bool("enable-gateway-api", false, "use Gateways and HTTPRoutes")
)

// These are cert-manager's defaults.
const (
	workers        = 5 // of each controller
	maxChallenges  = 60
	maximumBackoff = 32 * time.Hour
)

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	if err := feature.DefaultMutableFeatureGate.Set(*featureGates); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(logf.NewContext(ctx, logf.Log))
	defer cancel()
	factory, err := controller.NewContextFactory(ctx, options())
	if err != nil {
		return err
	}
	running, ctx := errgroup.WithContext(ctx)
	for name, construct := range controller.Known() {
		c, err := construct(factory)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		running.Go(func() error { return c.Run(workers, ctx) })
	}
	shared, err := factory.Build()
	if err != nil {
		return err
	}
	shared.SharedInformerFactory.Start(ctx.Done())
	shared.KubeSharedInformerFactory.Start(ctx.Done())
	shared.HTTP01ResourceMetadataInformersFactory.Start(ctx.Done())
	if *gatewayAPI {
		shared.GWShared.Start(ctx.Done())
	}
	return running.Wait()
}

func options() controller.ContextOptions {
	little := resource.MustParse("10m")
	memory := resource.MustParse("64Mi")
	return controller.ContextOptions{
		Kubeconfig:    *kubeconfig,
		IssuerOptions: controller.IssuerOptions{ClusterResourceNamespace: *namespace},
		ACMEOptions: controller.ACMEOptions{
			HTTP01SolverImage:                 "acmesolver",
			HTTP01SolverResourceRequestCPU:    little,
			HTTP01SolverResourceRequestMemory: memory,
			HTTP01SolverResourceLimitsCPU:     little,
			HTTP01SolverResourceLimitsMemory:  memory,
			ACMEHTTP01SolverRunAsNonRoot:      true,
			DNS01Nameservers:                  list(*dnsServers),
			DNS01CheckRetryPeriod:             *dnsRetry,
		},
		IngressShimOptions: controller.IngressShimOptions{DefaultIssuerKind: "Issuer", DefaultIssuerGroup: "cert-manager.io"},
		CertificateOptions: controller.CertificateOptions{
			CopiedAnnotationPrefixes:                 []string{"*", "-kubectl.kubernetes.io/"},
			CertificateRequestMinimumBackoffDuration: *minimumBackoff,
			CertificateRequestMaximumBackoffDuration: maximumBackoff,
		},
		SchedulerOptions: controller.SchedulerOptions{MaxConcurrentChallenges: maxChallenges},
		ConfigOptions:    controller.ConfigOptions{EnableGatewayAPI: *gatewayAPI},
	}
}

// list splits a text at commas.
func list(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}
