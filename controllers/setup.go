package controllers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/account"
	"github.com/acmeca/acmeca/controllers/attempts"
	"github.com/acmeca/acmeca/controllers/authority"
	"github.com/acmeca/acmeca/controllers/authorization"
	"github.com/acmeca/acmeca/controllers/budget"
	"github.com/acmeca/acmeca/controllers/crl"
	"github.com/acmeca/acmeca/controllers/inventory"
	"github.com/acmeca/acmeca/controllers/issuer"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/keyservice"
	"github.com/acmeca/acmeca/controllers/kube"
	"github.com/acmeca/acmeca/controllers/metrics"
	"github.com/acmeca/acmeca/controllers/order"
	"github.com/acmeca/acmeca/controllers/retention"
	"github.com/acmeca/acmeca/controllers/serversecrets"
	"github.com/acmeca/acmeca/controllers/validation/network"
	"github.com/acmeca/acmeca/controllers/validation/pool"
	"github.com/acmeca/acmeca/internal/tracing"
)

// Options of the controllers.
type Options struct {
	// ExternalURLs of issuers that name none.
	ExternalURLs []string
	// PlainURL is the base of the ACME server's plain HTTP listener, which certificates name.
	PlainURL string
	// DefaultIssuer is the issuer that is also served under /acme, and whose CA signs the ACME server's TLS certificate.
	DefaultIssuer client.ObjectKey
	// ServerTLSSecret is the Secret for the ACME server's TLS certificate; none without a name.
	ServerTLSSecret client.ObjectKey
	// ServerReplicaSecret is the Secret for the secrets that the ACME server's replicas share; none without a name.
	ServerReplicaSecret client.ObjectKey
	// ServerNames are names of the ACME server beside the hosts of its URLs.
	ServerNames []string
	// Protected are addresses that validation doesn't connect to unless an issuer allows it: the API server's.
	Protected []netip.Prefix
	// Denied are addresses that validation, resolvers, perspectives and proxies must never connect to, whatever an issuer allows.
	Denied []netip.Prefix
	// MaxIssuers is the number of issuers that are served in a namespace; 0 for no limit.
	MaxIssuers int
	// PodCertificates answers the PodCertificateRequests of Pods to issuers.
	PodCertificates bool
	// Concurrency is the number of objects that each controller reconciles at a time.
	Concurrency int
	// Metrics is the registry for the metrics; nil for none.
	Metrics prometheus.Registerer
	// Budget counts the bytes that the objects use in etcd, from the manager's cache; nil for no ceilings.
	Budget *budget.Budget
	// Inventory knows the stored orders, from the manager's cache and from a walk; nil for none.
	Inventory *inventory.Orders
	// Namespaces are those that the manager's cache is restricted to; none for all.
	Namespaces []string
	// Leads reports that no other replica can have become the leader; nil without an election.
	Leads func() bool
	// Tracer follows orders; nil for none.
	Tracer *tracing.Tracer
	// KeyService is the path of the key service's socket; "" for none.
	KeyService string
	// Clock is nil for the system's clock.
	Clock clock.WithTickerAndDelayedExecution
}

// wakeBuffer lets validations end without waiting for the work queue.
const wakeBuffer = 1024

// ClientOptions returns the options of the controllers' client. Kinds that the controllers have no right to list are not cached.
func ClientOptions() client.Options {
	return client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}, &corev1.ConfigMap{},
		&certificatesv1.ClusterTrustBundle{}}}}
}

// Setup adds all the controllers to a manager.
func Setup(ctx context.Context, mgr manager.Manager, o Options) error {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if err := kube.AddIndexes(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	w := newWiring(mgr, o)
	if err := w.connectKeyService(); err != nil {
		return fmt.Errorf("key service: %w", err)
	}
	if err := w.findPodCertificates(); err != nil {
		return err
	}
	for _, part := range []struct {
		name  string
		setup func(context.Context) error
	}{
		{"validation pool", w.setupPool},
		{"issuer controller", w.setupIssuers},
		{"account controller", w.setupAccounts},
		{"authorization controller", w.setupAuthorizations},
		{"order controller", w.setupOrders},
		{"revocation list controller", w.setupCRLs},
		{"replica secret", w.setupReplicaSecret},
		{"readiness", w.setupReadiness},
		{"metrics", w.setupMetrics},
		{"retention", w.setupRetention},
		{"pod certificates", w.setupPodCertificates},
	} {
		if err := part.setup(ctx); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// wiring holds the parts that several controllers share.
type wiring struct {
	Options
	mgr         manager.Manager
	recorder    events.EventRecorder
	counts      *metrics.Metrics
	pool        *pool.Pool
	loaded      *issuers.Registry
	compromised *issuers.CompromisedKeys
	crls        *crl.Publisher
	keys        *keyservice.Client // nil for none
	// pods is the reason of the issuers' condition PodCertificates. podsWoken wakes the controller of Pods' requests; nil if none runs.
	pods      string
	podsWoken chan event.GenericEvent
	// woken are the channels by which the issuer controller wakes the controllers of accounts, authorizations, orders and CRLs.
	woken struct{ accounts, authorizations, orders, crls chan event.GenericEvent }
}

func newWiring(mgr manager.Manager, o Options) *wiring {
	w := &wiring{
		Options: o, mgr: mgr, recorder: mgr.GetEventRecorder("acmeca-controller"), counts: metrics.New(), pool: pool.New(pool.Config{}),
		loaded: &issuers.Registry{}, compromised: &issuers.CompromisedKeys{Client: mgr.GetClient()},
	}
	w.crls = &crl.Publisher{Client: mgr.GetClient(), Issuers: w.loaded, CompromisedKeys: w.compromised, Clock: o.Clock, Stored: w.Budget.Add}
	for _, wake := range []*chan event.GenericEvent{&w.woken.accounts, &w.woken.authorizations, &w.woken.orders, &w.woken.crls} {
		*wake = make(chan event.GenericEvent)
	}
	return w
}

// setupPool closes the pool of validations when the manager stops.
func (w *wiring) setupPool(context.Context) error {
	return w.mgr.Add(manager.RunnableFunc(func(ctx context.Context) error {
		<-ctx.Done()
		w.pool.Close()
		return nil
	}))
}

func (w *wiring) setupIssuers(context.Context) error {
	c, wake := w.mgr.GetClient(), make(chan event.GenericEvent, wakeBuffer)
	keys := &authority.KeyPool{Ready: func(key client.ObjectKey) { wake <- issuerEvent(key) }}
	r := &issuer.Reconciler{
		Client: c, Issuers: w.loaded, Events: w.recorder, Clock: w.Clock,
		Authorities:     authority.Authorities{Client: c, Events: w.recorder, Clock: w.Clock, Keys: keys, KeyService: w.keys},
		Trust:           issuer.Trust{Client: c},
		TrustCopies:     &issuer.TrustCopies{Client: c, Live: w.mgr.GetAPIReader(), Clock: w.Clock},
		CACRLs:          issuer.CACRLs{Client: c, Clock: w.Clock},
		CompromisedKeys: w.compromised, CRLs: w.crls,
		ExternalURLs: w.ExternalURLs, PlainURL: w.PlainURL, DefaultIssuer: w.DefaultIssuer,
		Protected: w.Protected, Denied: w.Denied, Hosts: network.NewHosts(0),
		Bound: &issuer.Bound{Reader: c, Clock: w.Clock, Max: w.MaxIssuers},
		Wake:  []chan<- event.GenericEvent{w.woken.accounts, w.woken.authorizations, w.woken.orders, w.woken.crls}, Metrics: w.counts,
		Budget: w.Budget, PodCertificates: w.pods,
	}
	if w.podsWoken != nil {
		r.Wake = append(r.Wake, w.podsWoken)
	}
	if w.ServerTLSSecret.Name != "" {
		r.ServerTLS = &serversecrets.TLSCertificate{Client: c, Secret: w.ServerTLSSecret, Names: w.ServerNames, Clock: w.Clock}
		temporary := &serversecrets.TemporaryCertificate{TLSCertificate: r.ServerTLS, ExternalURLs: w.ExternalURLs, Clock: w.Clock}
		if err := temporary.SetupWithManager(w.mgr); err != nil {
			return err
		}
	}
	if err := w.watchKeyService(wake); err != nil {
		return err
	}
	if w.Budget != nil {
		if err := w.mgr.Add(kube.Periodic(w.Clock, budgetPeriod, "can't report full budgets", func(ctx context.Context) error {
			return w.wakeChangedBudgets(ctx, wake)
		})); err != nil {
			return err
		}
	}
	return r.SetupWithManager(w.mgr, w.concurrency(), wake)
}

// budgetPeriod is the longest time until an issuer's status says that its budget is full.
const budgetPeriod = time.Second

// wakeChangedBudgets wakes the issuers whose level of stored bytes has changed.
func (w *wiring) wakeChangedBudgets(ctx context.Context, wake chan<- event.GenericEvent) error {
	keys, all := w.Budget.Changed()
	if all {
		return w.wakeAll(ctx, wake)
	}
	return wakeIssuers(ctx, wake, keys)
}

// wakeAll wakes all issuers.
func (w *wiring) wakeAll(ctx context.Context, wake chan<- event.GenericEvent) error {
	var list v1alpha1.AcmeIssuerList
	if err := w.mgr.GetClient().List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	keys := make([]client.ObjectKey, len(list.Items))
	for i := range list.Items {
		keys[i] = client.ObjectKeyFromObject(&list.Items[i])
	}
	return wakeIssuers(ctx, wake, keys)
}

func wakeIssuers(ctx context.Context, wake chan<- event.GenericEvent, keys []client.ObjectKey) error {
	for _, key := range keys {
		select {
		case wake <- issuerEvent(key):
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

func issuerEvent(key client.ObjectKey) event.GenericEvent {
	object := &v1alpha1.AcmeIssuer{}
	object.Namespace, object.Name = key.Namespace, key.Name
	return event.GenericEvent{Object: object}
}

func (w *wiring) setupAccounts(context.Context) error {
	r := &account.Reconciler{
		Client: w.mgr.GetClient(), Live: w.mgr.GetAPIReader(), Issuers: w.loaded, Budget: w.Budget,
		Events: w.recorder, Clock: w.Clock,
	}
	return r.SetupWithManager(w.mgr, w.concurrency(), w.woken.accounts)
}

func (w *wiring) setupAuthorizations(context.Context) error {
	ended := make(chan event.GenericEvent, wakeBuffer)
	runner := attempts.New(w.pool, w.Clock, ended)
	runner.Metrics, runner.Tracer = w.counts, w.Tracer
	r := &authorization.Reconciler{
		Client: w.mgr.GetClient(), Live: w.mgr.GetAPIReader(), Issuers: w.loaded, Budget: w.Budget,
		Attempts: runner, Events: w.recorder, Clock: w.Clock,
	}
	return r.SetupWithManager(w.mgr, w.concurrency(), w.woken.authorizations, ended)
}

func (w *wiring) setupOrders(context.Context) error {
	c, rechecked := w.mgr.GetClient(), make(chan event.GenericEvent, wakeBuffer)
	r := &order.Reconciler{
		Client: c, Live: w.mgr.GetAPIReader(), Issuers: w.loaded, CompromisedKeys: w.compromised,
		Replacements: &order.Replacements{Live: w.mgr.GetAPIReader(), Known: w.Inventory.Replaced(), Leads: w.Leads},
		CAA:          attempts.NewCAAChecks(w.pool, w.Clock, rechecked), Events: w.recorder, Clock: w.Clock, Metrics: w.counts, Tracer: w.Tracer,
		Budget: w.Budget,
	}
	return r.SetupWithManager(w.mgr, w.concurrency(), w.woken.orders, rechecked)
}

func (w *wiring) setupCRLs(context.Context) error {
	return (&crl.Reconciler{Publisher: w.crls}).SetupWithManager(w.mgr, w.Concurrency, w.woken.crls)
}

func (w *wiring) setupReplicaSecret(context.Context) error {
	if w.ServerReplicaSecret.Name == "" {
		return nil
	}
	return (&serversecrets.ReplicaSecret{Client: w.mgr.GetClient(), Secret: w.ServerReplicaSecret, Clock: w.Clock}).SetupWithManager(w.mgr)
}

func (w *wiring) setupReadiness(context.Context) error {
	return w.mgr.AddReadyzCheck("issuers", issuersReady(w.mgr.Elected(), w.mgr.GetClient(), w.loaded))
}

func (w *wiring) setupMetrics(ctx context.Context) error {
	if w.Metrics == nil {
		return nil
	}
	if w.keys != nil {
		if err := w.Metrics.Register(metrics.KeyServiceUp(w.keys.Outage)); err != nil {
			return err
		}
	}
	sources := metrics.Sources{Issuers: w.loaded, Pool: w.pool, CRLs: w.crls, Budget: w.Budget, Inventory: w.Inventory}
	return errors.Join(w.counts.Register(w.Metrics), metrics.RegisterState(ctx, w.mgr, w.Metrics, sources))
}

func (w *wiring) setupRetention(context.Context) error {
	r := &retention.Sweeper{Client: w.mgr.GetClient(), Live: w.mgr.GetAPIReader(), Clock: w.Clock, Namespaces: w.Namespaces,
		Inventory: w.Inventory, NoteCRL: w.loaded.NoteCRL}
	return r.SetupWithManager(w.mgr)
}

// concurrency bounds how many objects a controller reconciles at a time.
func (w *wiring) concurrency() controller.Options {
	return controller.Options{MaxConcurrentReconciles: w.Concurrency}
}
