package main

import (
	"errors"
	"net/http"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/informer"
)

// newManager returns a manager that sends at most qps requests a second to the API server. The default is far above the load of a
// component: the API server's own priority and fairness is the limit that counts.
func newManager(config *rest.Config, o ctrl.Options, qps float64) (ctrl.Manager, error) {
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = float32(qps), int(2*qps)
	config.DisableCompression = true // within a cluster, CPU is scarcer than bandwidth
	o.Scheme = scheme
	mgr, err := ctrl.NewManager(config, o)
	if err != nil {
		return nil, err
	}
	return loggedChecks{mgr}, nil
}

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return nil, err
	}
	return scheme, v1alpha1.AddToScheme(scheme)
}

// restConfig returns the configuration of a client: from a kubeconfig file, or from the Pod's service account if there is none.
func restConfig(kubeconfig string) (config *rest.Config, err error) {
	if kubeconfig == "" {
		config, err = ctrl.GetConfig()
	} else {
		config, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	}
	if err == nil {
		config.Wrap(informer.DecodeAnswers)
		config.Timeout = 0 // it would end a watch that is decoded here together with the empty answer for client-go
	}
	return config, err
}

// addChecks adds the health and readiness checks that both components have. The manager ends once the history went back.
func addChecks(mgr manager.Manager, informers *informer.Informers) error {
	if err := informers.AddTo(mgr); err != nil {
		return err
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	return mgr.AddReadyzCheck("caches", synced(mgr))
}

// synced reports ready once the manager's caches are filled.
func synced(mgr manager.Manager) healthz.Checker {
	return func(r *http.Request) error {
		if !mgr.GetCache().WaitForCacheSync(r.Context()) {
			return errors.New("the caches are not filled yet")
		}
		return nil
	}
}
