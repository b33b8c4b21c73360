package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/cert-manager/cert-manager/internal/kube"
	"github.com/cert-manager/cert-manager/internal/webhook"
	cmscheme "github.com/cert-manager/cert-manager/pkg/client/clientset/versioned/scheme"
	"github.com/cert-manager/cert-manager/pkg/controller/cainjector"
	"github.com/cert-manager/cert-manager/pkg/issuer/acme/http/solver"
	logf "github.com/cert-manager/cert-manager/pkg/logs"
	"github.com/cert-manager/cert-manager/pkg/util"
	"github.com/cert-manager/cert-manager/pkg/util/cmapichecker"
	webhookoptions "github.com/cert-manager/cert-manager/pkg/webhook/options"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	apiext "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	kubescheme "k8s.io/client-go/kubernetes/scheme"
	apireg "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

func runWebhook(ctx context.Context, args []string) error {
	c, err := webhookoptions.NewWebhookConfiguration()
	if err != nil {
		return err
	}
	flags := pflag.NewFlagSet("webhook", pflag.ContinueOnError)
	webhookoptions.AddConfigFlags(flags, c)
	if err := flags.Parse(args); err != nil {
		return err
	}
	server, err := webhook.NewCertManagerWebhookServer(logf.FromContext(ctx), *c)
	if err != nil {
		return err
	}
	return server.Run(ctx)
}

// runCAInjector copies the webhook's CA into its configurations. It watches no Certificates.
func runCAInjector(ctx context.Context, args []string) error {
	flags := pflag.NewFlagSet("cainjector", pflag.ContinueOnError)
	flags.Int("v", 0, "unused")
	flags.String("leader-election-namespace", "", "unused")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctrl.SetLogger(logf.FromContext(ctx))
	types := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{kubescheme.AddToScheme, cmscheme.AddToScheme, apiext.AddToScheme, apireg.AddToScheme} {
		if err := add(types); err != nil {
			return err
		}
	}
	restConfig, err := kube.BuildClientConfig("", "")
	if err != nil {
		return err
	}
	restConfig = util.RestConfigWithUserAgent(restConfig, "cainjector") // whose prefix is the field manager
	secrets := []client.Object{&corev1.Secret{}}                        // are watched without their data
	manager, err := ctrl.NewManager(restConfig, ctrl.Options{
		Scheme:  types,
		Metrics: metricsserver.Options{BindAddress: "0"},
		Client:  client.Options{Cache: &client.CacheOptions{DisableFor: secrets}},
	})
	if err != nil {
		return err
	}
	if err := cainjector.RegisterAllInjectors(ctx, manager, cainjector.SetupOptions{EnabledReconcilersFor: map[string]bool{
		cainjector.MutatingWebhookConfigurationName:   true,
		cainjector.ValidatingWebhookConfigurationName: true,
		cainjector.APIServiceName:                     true,
		cainjector.CustomResourceDefinitionName:       true,
	}}); err != nil {
		return err
	}
	return manager.Start(ctx)
}

// runSolver answers an http-01 challenge.
func runSolver(ctx context.Context, args []string) error {
	s := &solver.HTTP01Solver{}
	flags := pflag.NewFlagSet("acmesolver", pflag.ContinueOnError)
	flags.IntVar(&s.ListenPort, "listen-port", 8089, "")
	flags.StringVar(&s.Domain, "domain", "", "")
	flags.StringVar(&s.Token, "token", "", "")
	flags.StringVar(&s.Key, "key", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = s.Shutdown(context.Background()) })
	err := s.Listen(logf.FromContext(ctx))
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// checkAPI waits until the webhook answers: `check api --wait=1m`.
func checkAPI(ctx context.Context, args []string) error {
	flags := pflag.NewFlagSet("check api", pflag.ContinueOnError)
	patience := flags.Duration("wait", time.Minute, "")
	flags.CountP("v", "v", "unused")
	if err := flags.Parse(args); err != nil {
		return err
	}
	restConfig, err := kube.BuildClientConfig("", "")
	if err != nil {
		return err
	}
	checker, err := cmapichecker.New(restConfig, os.Getenv("POD_NAMESPACE"))
	if err != nil {
		return err
	}
	var last error
	err = wait.PollUntilContextTimeout(ctx, time.Second, *patience, true, func(ctx context.Context) (bool, error) {
		last = checker.Check(ctx)
		return last == nil, nil
	})
	return errors.Join(err, last)
}
