package controllers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/validation"
	"github.com/acmeca/acmeca/internal/ordercache/serial"
	"github.com/acmeca/acmeca/internal/tracing"
)

// Options of the controllers.
type Options struct {
	// ExternalURLs of issuers that name none.
	ExternalURLs []string
	// PlainURL is the base of the ACME server's plain HTTP listener, which certificates name.
	PlainURL string
	// DefaultIssuer is the one that is also served under /acme, and whose CA signs the ACME server's TLS certificate.
	DefaultIssuer client.ObjectKey
	// ServerTLSSecret is where the ACME server's TLS certificate goes; nowhere without a name.
	ServerTLSSecret client.ObjectKey
	// ServerReplicaSecret is where the secrets go that the ACME server's replicas share; nowhere without a name.
	ServerReplicaSecret client.ObjectKey
	// ServerNames are names of the ACME server beside the hosts of its URLs.
	ServerNames []string
	// Protected are addresses that validation doesn't connect to unless an issuer allows it: the API server's.
	Protected []netip.Prefix
	// Denied are addresses that nothing which an issuer names may lead to, whatever it allows.
	Denied []netip.Prefix
	// Concurrency of each controller.
	Concurrency int
	// Metrics is where metrics are registered; nil for nowhere.
	Metrics prometheus.Registerer
	// Tracer follows orders; nil for none.
	Tracer *tracing.Tracer
	// Clock to decide by; nil for the system's.
	Clock clock.WithTickerAndDelayedExecution
}

// Fields by which the cache is searched.
const (
	indexAccount        = "spec.accountRef.name"
	indexAuthorizations = "spec.authorizations"
	// indexUnsettled finds by issuer what still waits for something.
	indexUnsettled = "unsettled"
	// indexCompromised finds by issuer and key orders whose certificates were revoked since others have the key.
	indexCompromised = "compromised"
	// indexReplaces finds by issuer and ARI identifier the orders that say that they replace a certificate.
	indexReplaces = "replaces"
	// indexRevoked finds revoked orders by issuer and CRL shard.
	indexRevoked = "revoked"
)

// wakeBuffer lets validations end without waiting for the queue that takes up their outcome.
const wakeBuffer = 1024

// CacheOptions keep out of the controllers' cache what they don't read.
func CacheOptions() cache.Options {
	return cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&v1alpha1.AcmeOrder{}: {Transform: compact},
		},
	}
}

// compact drops what is read past the cache where it is needed again: the certificate and the CSR of a finished order.
func compact(object any) (any, error) {
	if order, ok := object.(*v1alpha1.AcmeOrder); ok {
		order.Compact()
	}
	return object, nil
}

// ClientOptions keep out of the cache what the controllers would need the right to list all of for that.
func ClientOptions() client.Options {
	return client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}, &corev1.ConfigMap{}, &certificatesv1.ClusterTrustBundle{}}}}
}

// Setup adds all the controllers to a manager.
func Setup(ctx context.Context, mgr manager.Manager, o Options) error {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if err := addIndexes(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	pool := validation.NewPool(validation.PoolConfig{})
	if err := mgr.Add(manager.RunnableFunc(func(ctx context.Context) error {
		<-ctx.Done()
		pool.Close()
		return nil
	})); err != nil {
		return err
	}
	serials := &serial.Index{}
	orderInformer, err := mgr.GetCache().GetInformer(ctx, &v1alpha1.AcmeOrder{})
	if err != nil {
		return err
	}
	if _, err := orderInformer.AddEventHandler(serials.Handler()); err != nil {
		return err
	}
	recorder := mgr.GetEventRecorder("acmeca-controller")
	metrics := NewMetrics()
	issuers, blocked := &Issuers{}, &BlockedKeys{Client: mgr.GetClient()}
	validated, rechecked := make(chan event.GenericEvent, wakeBuffer), make(chan event.GenericEvent, wakeBuffer)
	accountsOf, authorizationsOf, ordersOf, listsOf := make(chan event.GenericEvent), make(chan event.GenericEvent), make(chan event.GenericEvent), make(chan event.GenericEvent)
	concurrency := controller.Options{MaxConcurrentReconciles: o.Concurrency}

	lists := &RevocationListReconciler{Client: mgr.GetClient(), Issuers: issuers, Blocked: blocked, Clock: o.Clock}
	issuer := &IssuerReconciler{
		Client: mgr.GetClient(), Authorities: Authorities{Client: mgr.GetClient(), Events: recorder, Clock: o.Clock}, Issuers: issuers, Events: recorder, Clock: o.Clock,
		Trust: Trust{Client: mgr.GetClient()}, Blocked: blocked, Lists: lists, ExternalURLs: o.ExternalURLs, PlainURL: o.PlainURL, DefaultIssuer: o.DefaultIssuer,
		Protected: o.Protected, Denied: o.Denied, Hosts: validation.NewHosts(0),
		Wake: []chan<- event.GenericEvent{accountsOf, authorizationsOf, ordersOf, listsOf}, Metrics: metrics,
	}
	if o.ServerTLSSecret.Name != "" {
		issuer.ServerTLS = &ServerCertificate{Client: mgr.GetClient(), Secret: o.ServerTLSSecret, Names: o.ServerNames, Clock: o.Clock}
	}
	if err := ctrl.NewControllerManagedBy(mgr).Named("issuer").For(&v1alpha1.AcmeIssuer{}).Complete(unlessChanged(issuer)); err != nil {
		return fmt.Errorf("issuer controller: %w", err)
	}

	account := &AccountReconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Bindings: Bindings{Client: mgr.GetClient(), Clock: o.Clock}, Issuers: issuers, Events: recorder, Clock: o.Clock,
	}
	if err := ctrl.NewControllerManagedBy(mgr).Named("account").For(&v1alpha1.AcmeAccount{}).
		WatchesRawSource(source.Channel(accountsOf, unsettled(mgr.GetClient(), &v1alpha1.AcmeAccountList{}))).
		WithOptions(concurrency).Complete(unlessChanged(account)); err != nil {
		return fmt.Errorf("account controller: %w", err)
	}

	attempts := NewAttempts(pool, o.Clock, validated)
	attempts.Metrics, attempts.Tracer = metrics, o.Tracer
	authorization := &AuthorizationReconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Issuers: issuers, Attempts: attempts, Events: recorder, Clock: o.Clock,
	}
	if err := ctrl.NewControllerManagedBy(mgr).Named("authorization").For(&v1alpha1.AcmeAuthorization{}).
		Watches(&v1alpha1.AcmeAccount{}, unfinishedOf(mgr.GetClient(), &v1alpha1.AcmeAuthorizationList{})).
		WatchesRawSource(source.Channel(validated, &handler.EnqueueRequestForObject{})).
		WatchesRawSource(source.Channel(authorizationsOf, unsettled(mgr.GetClient(), &v1alpha1.AcmeAuthorizationList{}))).
		WithOptions(concurrency).Complete(unlessChanged(authorization)); err != nil {
		return fmt.Errorf("authorization controller: %w", err)
	}

	order := &OrderReconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Issuers: issuers, Blocked: blocked, Replacements: &Replacements{Client: mgr.GetClient(), Serials: serials}, CAA: NewCAAChecks(pool, o.Clock, rechecked), Events: recorder, Clock: o.Clock,
		Metrics: metrics, Tracer: o.Tracer,
	}
	if err := ctrl.NewControllerManagedBy(mgr).Named("order").For(&v1alpha1.AcmeOrder{}, builder.WithPredicates(ordersToSee)).
		Watches(&v1alpha1.AcmeAuthorization{}, handler.EnqueueRequestsFromMapFunc(ordersWaitingFor(mgr.GetClient()))).
		Watches(&v1alpha1.AcmeAccount{}, unfinishedOf(mgr.GetClient(), &v1alpha1.AcmeOrderList{})).
		WatchesRawSource(source.Channel(rechecked, &handler.EnqueueRequestForObject{})).
		WatchesRawSource(source.Channel(ordersOf, unsettled(mgr.GetClient(), &v1alpha1.AcmeOrderList{}))).
		WithOptions(concurrency).Complete(unlessChanged(order)); err != nil {
		return fmt.Errorf("order controller: %w", err)
	}

	if err := builder.TypedControllerManagedBy[ShardRequest](mgr).Named("revocationlist").
		Watches(&v1alpha1.AcmeOrder{}, handler.TypedEnqueueRequestsFromMapFunc(shardOfRevoked)).
		WatchesRawSource(source.TypedChannel(listsOf, handler.TypedEnqueueRequestsFromMapFunc(shardsOf(issuers)))).
		WithOptions(controller.TypedOptions[ShardRequest]{MaxConcurrentReconciles: o.Concurrency}).Complete(unlessChanged(lists)); err != nil {
		return fmt.Errorf("revocation list controller: %w", err)
	}
	if o.ServerReplicaSecret.Name != "" {
		secrets := &ReplicaSecret{Client: mgr.GetClient(), Secret: o.ServerReplicaSecret, Clock: o.Clock}
		if err := mgr.Add(regularly(o.Clock, replicaSecretCheck, fmt.Sprintf("the Secret %s of the ACME server's replicas can't be kept", secrets.Secret), secrets.Ensure)); err != nil {
			return err
		}
	}
	if err := mgr.AddReadyzCheck("issuers", anyCA(mgr.Elected(), mgr.GetClient(), issuers)); err != nil {
		return err
	}
	if o.Metrics != nil {
		state := &stateCollector{working: mgr.Elected(), reader: mgr.GetClient(), issuers: issuers, lists: lists, pool: pool}
		if err := errors.Join(state.observe(ctx, mgr.GetCache()), metrics.register(o.Metrics), o.Metrics.Register(state)); err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
	}
	retention := &Retention{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Clock: o.Clock, Informers: mgr.GetCache()}
	return mgr.Add(regularly(o.Clock, retentionPeriod, "not everything that is over could be removed", retention.Sweep))
}

// shardOfRevoked maps a revoked order to its CRL shard.
func shardOfRevoked(_ context.Context, object client.Object) []ShardRequest {
	order := object.(*v1alpha1.AcmeOrder)
	if order.Status.RevokedAt == nil || order.Status.CRL == "" {
		return nil
	}
	return []ShardRequest{{Namespace: order.Namespace, Issuer: order.Spec.IssuerRef.Name, Shard: order.Status.CRL}}
}

// shardsOf maps an issuer to all its CRL shards.
func shardsOf(issuers *Issuers) handler.TypedMapFunc[client.Object, ShardRequest] {
	return func(_ context.Context, object client.Object) []ShardRequest {
		issuer, ok := issuers.Revoking(object.GetNamespace(), object.GetName())
		if !ok {
			return nil
		}
		var requests []ShardRequest
		for _, shard := range issuer.shards() {
			requests = append(requests, ShardRequest{Namespace: object.GetNamespace(), Issuer: object.GetName(), Shard: shard})
		}
		return requests
	}
}

func addIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	for _, index := range []struct {
		kind  client.Object
		field string
		value client.IndexerFunc
	}{
		{&v1alpha1.AcmeAuthorization{}, indexAccount, func(o client.Object) []string {
			return []string{o.(*v1alpha1.AcmeAuthorization).Spec.AccountRef.Name}
		}},
		{&v1alpha1.AcmeOrder{}, indexAuthorizations, func(o client.Object) []string {
			if order := o.(*v1alpha1.AcmeOrder); unsettledOrder(order) {
				return order.Spec.Authorizations
			}
			return nil
		}},
		{&v1alpha1.AcmeAuthorization{}, indexUnfinishedOf, func(o client.Object) []string {
			authz := o.(*v1alpha1.AcmeAuthorization)
			return onlyIf(!authz.Status.State.Final(), authz.Spec.AccountRef.Name)
		}},
		{&v1alpha1.AcmeOrder{}, indexUnfinishedOf, func(o client.Object) []string {
			order := o.(*v1alpha1.AcmeOrder)
			return onlyIf(unsettledOrder(order), order.Spec.AccountRef.Name)
		}},
		{&v1alpha1.AcmeAccount{}, indexThumbprint, func(o client.Object) []string {
			thumbprint := o.(*v1alpha1.AcmeAccount).Status.Thumbprint
			return onlyIf(thumbprint != "", thumbprint)
		}},
		{&v1alpha1.AcmeAccount{}, indexUnsettled, func(o client.Object) []string {
			account := o.(*v1alpha1.AcmeAccount)
			return onlyIf(account.Status.ObservedGeneration != account.Generation, account.Spec.IssuerRef.Name)
		}},
		{&v1alpha1.AcmeAuthorization{}, indexUnsettled, func(o client.Object) []string {
			authz := o.(*v1alpha1.AcmeAuthorization)
			return onlyIf(!authz.Status.State.Final(), authz.Spec.IssuerRef.Name)
		}},
		{&v1alpha1.AcmeOrder{}, indexCompromised, func(o client.Object) []string {
			order := o.(*v1alpha1.AcmeOrder)
			key := order.CompromisedKey()
			return onlyIf(key != "", order.Spec.IssuerRef.Name+"/"+key)
		}},
		{&v1alpha1.AcmeOrder{}, indexReplaces, func(o client.Object) []string {
			order := o.(*v1alpha1.AcmeOrder)
			return onlyIf(order.Spec.Replaces != "", order.Spec.IssuerRef.Name+"/"+order.Spec.Replaces)
		}},
		{&v1alpha1.AcmeOrder{}, indexRevoked, func(o client.Object) []string {
			order := o.(*v1alpha1.AcmeOrder)
			return onlyIf(order.Status.RevokedAt != nil, order.Spec.IssuerRef.Name+"/"+order.Status.CRL)
		}},
		{&v1alpha1.AcmeOrder{}, indexUnsettled, func(o client.Object) []string {
			order := o.(*v1alpha1.AcmeOrder)
			return onlyIf(unsettledOrder(order) || revocationPending(order), order.Spec.IssuerRef.Name)
		}},
	} {
		if err := indexer.IndexField(ctx, index.kind, index.field, index.value); err != nil {
			return fmt.Errorf("index %s: %w", index.field, err)
		}
	}
	return nil
}

func unsettledOrder(order *v1alpha1.AcmeOrder) bool {
	return order.Status.State != acme.StateValid && order.Status.State != acme.StateInvalid
}

func onlyIf(condition bool, value string) []string {
	if condition {
		return []string{value}
	}
	return nil
}

// ordersToSee leaves out finished orders of which nothing is asked: after a start, those are nearly all. One that has just
// been finished is seen, so that what is remembered of it is forgotten.
var ordersToSee = predicate.Funcs{
	CreateFunc: func(e event.CreateEvent) bool { return orderToSee(e.Object) },
	UpdateFunc: func(e event.UpdateEvent) bool { return orderToSee(e.ObjectOld) || orderToSee(e.ObjectNew) },
}

func orderToSee(object client.Object) bool {
	order := object.(*v1alpha1.AcmeOrder)
	return unsettledOrder(order) || revocationPending(order) || order.DeletionTimestamp != nil
}

// unsettled maps an issuer to what of a kind belongs to it and still waits for something.
func unsettled(reader client.Reader, kind client.ObjectList) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, issuer client.Object) []reconcile.Request {
		return requestsFor(ctx, reader, kind.DeepCopyObject().(client.ObjectList), client.InNamespace(issuer.GetNamespace()), client.MatchingFields{indexUnsettled: issuer.GetName()})
	})
}

// ordersWaitingFor maps an authorization to the unfinished orders that name it. One that is pending changes nothing for
// them.
func ordersWaitingFor(reader client.Reader) handler.MapFunc {
	return func(ctx context.Context, object client.Object) []reconcile.Request {
		if object.(*v1alpha1.AcmeAuthorization).Status.State == acme.StatePending {
			return nil
		}
		return requestsFor(ctx, reader, &v1alpha1.AcmeOrderList{}, client.InNamespace(object.GetNamespace()), client.MatchingFields{indexAuthorizations: object.GetName()})
	}
}
