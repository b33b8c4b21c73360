package inprocess

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/acmeca/acmeca/acmeserver"
	"github.com/acmeca/acmeca/acmeserver/store"
	"github.com/acmeca/acmeca/controllers"
	"github.com/acmeca/acmeca/controllers/inventory"
	"github.com/acmeca/acmeca/internal/informer"
)

// Half is one of the operator's halves. Kill ends it, and Start starts it again.
type Half struct {
	Name string

	config    *rest.Config
	setup     func(context.Context, *rest.Config) (ctrl.Manager, error)
	down      func() // called when the half dies
	intercept atomic.Pointer[Intercept]

	mu    sync.Mutex
	lives int
	end   func() // ends the current life; nil if there is none
}

// Intercept sets the function that decides about all requests of the half to the API server; nil for none.
func (h *Half) Intercept(i Intercept) {
	if i == nil {
		h.intercept.Store(nil)
		return
	}
	h.intercept.Store(&i)
}

// Start begins a new life without knowledge of earlier ones. Start returns when the caches are synced.
func (h *Half) Start() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.end != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	over := &atomic.Bool{}
	restConfig := rest.CopyConfig(h.config)
	restConfig.QPS = -1
	restConfig.Wrap(func(inner http.RoundTripper) http.RoundTripper { return &gate{inner, over, &h.intercept} })
	mgr, err := h.setup(ctx, restConfig)
	if err != nil {
		cancel()
		return fmt.Errorf("%s: %w", h.Name, err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = mgr.Start(ctx) // ended by cancel
	}()
	h.lives++
	h.end = func() {
		over.Store(true)
		h.down()
		cancel()
		<-ended
		mgr.GetHTTPClient().CloseIdleConnections()
	}
	if !mgr.GetCache().WaitForCacheSync(ctx) {
		return fmt.Errorf("%s: the caches did not sync", h.Name)
	}
	return nil
}

// Kill ends the half at once: no further request reaches the API server.
func (h *Half) Kill() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.end != nil {
		h.end()
		h.end = nil
	}
}

// Restart kills the half and starts it again.
func (h *Half) Restart() error {
	h.Kill()
	return h.Start()
}

func newManager(
	restConfig *rest.Config, w *World, options cache.Options, clientOptions client.Options, log logr.Logger, newClient client.NewClientFunc,
) (ctrl.Manager, error) {
	skip := true
	return ctrl.NewManager(restConfig, ctrl.Options{
		Scheme: w.Scheme, Cache: options, Client: clientOptions, NewClient: newClient, Metrics: metricsserver.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: &skip}, Logger: log,
	})
}

func (o *Operator) newControllers() *Half {
	return &Half{Name: "controllers", config: o.world.controllers, down: func() {},
		setup: func(ctx context.Context, c *rest.Config) (ctrl.Manager, error) {
			orders := inventory.New(nil)
			informers := informer.New(informer.Options{Orders: orders})
			c.Wrap(informer.DecodeAnswers)
			mgr, err := newManager(c, o.world, informers.CacheOptions(o.Namespace), controllers.ClientOptions(), o.log, informers.NewClient)
			if err != nil {
				return nil, err
			}
			return mgr, controllers.Setup(ctx, mgr, controllers.Options{
				ExternalURLs: []string{o.server.URL}, PlainURL: "http://acme.test", DefaultIssuer: o.issuerKey(), Concurrency: 4, Clock: o.Clock,
				Inventory: orders, Namespaces: []string{o.Namespace},
			})
		}}
}

func (o *Operator) newServer() *Half {
	down := func() { o.handler.Store(nil) }
	return &Half{Name: "server", config: o.world.server, down: down, setup: func(ctx context.Context, c *rest.Config) (ctrl.Manager, error) {
		finished := store.NewFinishedOrders()
		informers := informer.New(informer.Options{Orders: finished})
		c.Wrap(informer.DecodeAnswers)
		mgr, err := newManager(c, o.world, informers.CacheOptions(o.Namespace), client.Options{}, o.log, client.New)
		if err != nil {
			return nil, err
		}
		live, err := informers.NewClient(mgr.GetConfig(), client.Options{
			HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(),
			FieldOwner: "acmeca-server", FieldValidation: "Strict",
		})
		if err != nil {
			return nil, err
		}
		acme, err := acmeserver.New(ctx, mgr.GetCache(), live, acmeserver.Options{
			Finished: finished, DefaultIssuer: o.issuerKey(), Now: o.Clock.Now, Namespaces: []string{o.Namespace},
		})
		if err != nil {
			return nil, err
		}
		go func() {
			if mgr.GetCache().WaitForCacheSync(ctx) {
				o.handler.Store(acme)
			}
		}()
		return mgr, nil
	}}
}
