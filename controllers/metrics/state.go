package metrics

import (
	"context"
	"crypto/x509"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/budget"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/inventory"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/validation/pool"
)

// stateCollector reports the current state at each scrape. Only the leader reports: other replicas would count the same objects.
type stateCollector struct {
	Sources
	working        <-chan struct{}
	reader         client.Reader
	accounts       *tally[*v1alpha1.AcmeAccount]
	authorizations *tally[*v1alpha1.AcmeAuthorization]
}

// Sources are the parts of the controllers whose state is reported.
type Sources struct {
	Issuers *issuers.Registry
	Pool    *pool.Pool
	CRLs    Part
	// Budget is nil if nothing counts stored bytes.
	Budget *budget.Budget
	// Inventory is nil if nothing counts orders.
	Inventory *inventory.Orders
}

// Part is a collector of gauges that the leader alone reports.
type Part interface {
	// Descriptions lists the metrics that Collect reports.
	Descriptions() []*prometheus.Desc
	// Collect reports the gauges as they are now.
	Collect(gauge Gauge)
}

// Describe returns the description of a metric with these labels.
func Describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

var (
	descAccounts       = Describe("acmeca_accounts", "Accounts, by issuer and state.", LabelNamespace, LabelIssuer, "state")
	descOrders         = Describe("acmeca_orders", "Orders, by issuer and state.", LabelNamespace, LabelIssuer, "state")
	descAuthorizations = Describe("acmeca_authorizations", "Authorizations, by issuer and state.", LabelNamespace, LabelIssuer, "state")
	descReady          = Describe("acmeca_issuer_ready", "Whether an issuer can issue: its Ready condition.", LabelNamespace, LabelIssuer)
	descSuspended      = Describe("acmeca_issuer_suspended", "Whether a person has suspended an issuer.", LabelNamespace, LabelIssuer)
	descCAExpiry       = Describe("acmeca_ca_certificate_expiry_timestamp_seconds", "When a CA certificate expires, by what it does: issuing, retired, root.", LabelNamespace, LabelIssuer, "role", "ca")
	descCACRLThis      = Describe("acmeca_ca_crl_this_update_timestamp_seconds", "thisUpdate of the CRL of a CA above the issuing one (spec.ca.crls), in Unix seconds; 0 without a CRL.", LabelNamespace, LabelIssuer, "ca")
	descCACRLNext      = Describe("acmeca_ca_crl_next_update_timestamp_seconds", "nextUpdate of the CRL of a CA above the issuing one (spec.ca.crls), in Unix seconds; 0 without a CRL.", LabelNamespace, LabelIssuer, "ca")
	descRunning        = Describe("acmeca_validations_running", "Validations that are running.")
	descWaiting        = Describe("acmeca_validations_waiting", "Validations that wait for a free slot.")
	descStored         = Describe("acmeca_stored_bytes", "Bytes that objects use in etcd, by issuer and kind; without old revisions and etcd's own overhead.", LabelNamespace, LabelIssuer, "kind")
	descStoredLimit    = Describe("acmeca_stored_bytes_limit", "Ceiling of acmeca_stored_bytes, of each issuer and in total; 0 for none.", "scope")
	descDiscarded      = Describe("acmeca_discarded_objects_total", "Unfinished objects that were deleted because the stored bytes exceed a ceiling, by kind.", "kind")
)

// Describe implements prometheus.Collector.
func (s *stateCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descAccounts, descOrders, descAuthorizations, descReady, descSuspended, descCAExpiry,
		descCACRLThis, descCACRLNext, descRunning, descWaiting, descStored, descStoredLimit, descDiscarded,
	} {
		out <- d
	}
	for _, d := range s.CRLs.Descriptions() {
		out <- d
	}
}

// scrapeTimeout bounds the wait for a cache that isn't synchronized yet.
const scrapeTimeout = time.Second

// Collect implements prometheus.Collector.
func (s *stateCollector) Collect(out chan<- prometheus.Metric) {
	select {
	case <-s.working:
	default:
		return
	}
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	running, waiting := s.Pool.Load()
	gauge(descRunning, float64(running))
	gauge(descWaiting, float64(waiting))

	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	var objects v1alpha1.AcmeIssuerList
	if s.reader.List(ctx, &objects, client.UnsafeDisableDeepCopy) != nil {
		return // no cache yet
	}
	existing := map[types.NamespacedName]bool{}
	for i := range objects.Items {
		object := &objects.Items[i]
		key := client.ObjectKeyFromObject(object)
		existing[key] = true
		gauge(descReady, Truth(meta.IsStatusConditionTrue(object.Status.Conditions, v1alpha1.ConditionReady)), key.Namespace, key.Name)
		gauge(descSuspended, Truth(object.Spec.Suspend), key.Namespace, key.Name)
		if issuer, ok := s.Issuers.Loaded(key.Namespace, key.Name); ok {
			collectCA(gauge, key, issuer)
		}
	}
	for d, counts := range map[*prometheus.Desc]map[tallyKey]int{
		descAccounts: s.accounts.among(existing), descOrders: s.countOrders(existing), descAuthorizations: s.authorizations.among(existing),
	} {
		for key, count := range counts {
			gauge(d, float64(count), key.issuer.Namespace, key.issuer.Name, string(key.state))
		}
	}
	s.CRLs.Collect(gauge)
	if s.Budget != nil {
		s.collectBudget(out, gauge, existing)
	}
}

// countOrders returns the numbers of known orders as tally.among does.
func (s *stateCollector) countOrders(existing map[types.NamespacedName]bool) map[tallyKey]int {
	known, _ := s.Inventory.Counts()
	counts := make(map[tallyKey]int, len(known))
	for _, of := range known {
		if !existing[of.Issuer] {
			of.Issuer = types.NamespacedName{}
		}
		counts[tallyKey{of.Issuer, of.State}] += of.Orders
	}
	return counts
}

// collectBudget reports stored bytes. Objects can name issuers that do not exist; they count together.
func (s *stateCollector) collectBudget(out chan<- prometheus.Metric, gauge Gauge, existing map[types.NamespacedName]bool) {
	usage := s.Budget.Usage()
	gauge(descStoredLimit, float64(usage.Limits.Issuer), "issuer")
	gauge(descStoredLimit, float64(usage.Limits.Total), "total")
	for _, kind := range []string{"AcmeAuthorization", "AcmeOrder"} {
		out <- prometheus.MustNewConstMetric(descDiscarded, prometheus.CounterValue, float64(usage.Discarded[kind]), kind)
	}
	stored := map[[3]string]int64{}
	for issuer, byKind := range usage.Bytes {
		if !existing[issuer] {
			issuer = types.NamespacedName{}
		}
		for kind, bytes := range byKind {
			stored[[3]string{issuer.Namespace, issuer.Name, kind}] += bytes
		}
	}
	for labels, bytes := range stored {
		gauge(descStored, float64(bytes), labels[:]...)
	}
}

// Gauge reports the value of a gauge.
type Gauge func(d *prometheus.Desc, value float64, labels ...string)

func collectCA(gauge Gauge, key types.NamespacedName, issuer *issuers.Issuer) {
	expiry := func(role string, certificates ...*x509.Certificate) {
		seen := map[string]bool{}
		for _, c := range certificates {
			if name := v1alpha1.CAName(c); !seen[name] {
				seen[name] = true
				gauge(descCAExpiry, float64(c.NotAfter.Unix()), key.Namespace, key.Name, role, name)
			}
		}
	}
	expiry("issuing", issuer.Authority.Certificate())
	roots, _ := ca.ParseCertificates(issuer.Bundle) // written by the controllers
	expiry("root", roots...)
	var retired []*x509.Certificate
	for _, authority := range issuer.Retired {
		retired = append(retired, authority.Certificate())
	}
	expiry("retired", retired...)
	for _, crl := range issuer.CACRLs {
		gauge(descCACRLThis, unix(crl.ThisUpdate), key.Namespace, key.Name, crl.Name)
		gauge(descCACRLNext, unix(crl.NextUpdate), key.Namespace, key.Name, crl.Name)
	}
}

// unix returns a time in Unix seconds; 0 for the zero time.
func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.Unix())
}

// Truth returns the value of a gauge that is 1 or 0.
func Truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// tally counts the objects of a kind by issuer and state from the events of the cache. The cost of a scrape or a change doesn't
// depend on the number of objects.
type tally[T client.Object] struct {
	issuer func(T) string
	state  func(T) acme.State

	mu     sync.Mutex
	counts map[tallyKey]int
}

type tallyKey struct {
	issuer types.NamespacedName
	state  acme.State
}

func (t *tally[T]) key(object T) tallyKey {
	return tallyKey{types.NamespacedName{Namespace: object.GetNamespace(), Name: t.issuer(object)}, t.state(object)}
}

func (t *tally[T]) add(key tallyKey, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = map[tallyKey]int{}
	}
	if t.counts[key] += n; t.counts[key] == 0 {
		delete(t.counts, key)
	}
}

// OnAdd implements cache.ResourceEventHandler.
func (t *tally[T]) OnAdd(object any, _ bool) {
	if object, ok := object.(T); ok {
		t.add(t.key(object), 1)
	}
}

// OnUpdate implements cache.ResourceEventHandler.
func (t *tally[T]) OnUpdate(before, now any) {
	b, ok := before.(T)
	n, ok2 := now.(T)
	if !ok || !ok2 {
		return
	}
	if from, to := t.key(b), t.key(n); from != to {
		t.add(from, -1)
		t.add(to, 1)
	}
}

// OnDelete implements cache.ResourceEventHandler.
func (t *tally[T]) OnDelete(object any) {
	if unknown, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		object = unknown.Obj
	}
	if object, ok := object.(T); ok {
		t.add(t.key(object), -1)
	}
}

// among returns the counts for each existing issuer, and one count for all others together: an object can name any issuer, and
// can outlive its issuer.
func (t *tally[T]) among(existing map[types.NamespacedName]bool) map[tallyKey]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	counts := make(map[tallyKey]int, len(t.counts))
	for key, n := range t.counts {
		if !existing[key.issuer] {
			key.issuer = types.NamespacedName{}
		}
		counts[key] += n
	}
	return counts
}

func newTallies() (*tally[*v1alpha1.AcmeAccount], *tally[*v1alpha1.AcmeAuthorization]) {
	return &tally[*v1alpha1.AcmeAccount]{
			issuer: func(a *v1alpha1.AcmeAccount) string { return a.Spec.IssuerRef.Name },
			state:  func(a *v1alpha1.AcmeAccount) acme.State { return a.Status.State },
		}, &tally[*v1alpha1.AcmeAuthorization]{
			issuer: func(a *v1alpha1.AcmeAuthorization) string { return a.Spec.IssuerRef.Name },
			state:  func(a *v1alpha1.AcmeAuthorization) acme.State { return a.Status.State },
		}
}

// observe registers the tallies as event handlers of the cache.
func (s *stateCollector) observe(ctx context.Context, informers cache.Informers) error {
	s.accounts, s.authorizations = newTallies()
	for kind, handler := range map[client.Object]toolscache.ResourceEventHandler{
		&v1alpha1.AcmeAccount{}: s.accounts, &v1alpha1.AcmeAuthorization{}: s.authorizations,
	} {
		informer, err := informers.GetInformer(ctx, kind)
		if err != nil {
			return err
		}
		if _, err := informer.AddEventHandler(handler); err != nil {
			return err
		}
	}
	return nil
}

// RegisterState registers a collector of the current state of issuers, cached objects, validations in the pool, CRLs and stored
// bytes. The leader alone reports it.
func RegisterState(ctx context.Context, mgr manager.Manager, registry prometheus.Registerer, sources Sources) error {
	state := &stateCollector{Sources: sources, working: mgr.Elected(), reader: mgr.GetClient()}
	return errors.Join(state.observe(ctx, mgr.GetCache()), registry.Register(state))
}
