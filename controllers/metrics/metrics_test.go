package metrics

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/controllers/budget"
	"github.com/acmeca/acmeca/controllers/ca"
	"github.com/acmeca/acmeca/controllers/inventory"
	"github.com/acmeca/acmeca/controllers/issuers"
	"github.com/acmeca/acmeca/controllers/validation"
	"github.com/acmeca/acmeca/controllers/validation/pool"
)

func orderIn(state acme.State, issuer string) *v1alpha1.AcmeOrder {
	o := &v1alpha1.AcmeOrder{}
	o.Namespace, o.Spec.IssuerRef.Name, o.Status.State = "team", issuer, state
	return o
}

func TestTallyFollowsObjects(t *testing.T) {
	_, authorizations := newTallies()
	in := func(state acme.State, issuer string) *v1alpha1.AcmeAuthorization {
		a := &v1alpha1.AcmeAuthorization{}
		a.Namespace, a.Spec.IssuerRef.Name, a.Status.State = "team", issuer, state
		return a
	}
	authorizations.OnAdd(in(acme.StatePending, "ca"), true)
	authorizations.OnAdd(in(acme.StatePending, "ca"), false)
	authorizations.OnUpdate(in(acme.StatePending, "ca"), in(acme.StateValid, "ca"))
	authorizations.OnUpdate(in(acme.StateValid, "ca"), in(acme.StateValid, "ca"))
	authorizations.OnAdd(in(acme.StateInvalid, "ca"), false)
	authorizations.OnDelete(toolscache.DeletedFinalStateUnknown{Obj: in(acme.StateInvalid, "ca")})
	authorizations.OnAdd(in(acme.StateValid, "a name of the ACME server's"), false)
	authorizations.OnAdd(in(acme.StateValid, "another one"), false)

	existing := types.NamespacedName{Namespace: "team", Name: "ca"}
	got := authorizations.among(map[types.NamespacedName]bool{existing: true})
	want := map[tallyKey]int{
		{existing, acme.StatePending}: 1, {existing, acme.StateValid}: 1, {types.NamespacedName{}, acme.StateValid}: 2,
	}
	if len(got) != len(want) {
		t.Errorf("%v", got)
	}
	for key, n := range want {
		if got[key] != n {
			t.Errorf("%v: %d, not %d", key, got[key], n)
		}
	}
}

func TestMetricsOfOrders(t *testing.T) {
	m := New()
	now := time.Unix(1000, 0)
	pending, valid, failed := orderIn(acme.StatePending, "ca"), orderIn(acme.StateValid, "ca"), orderIn(acme.StateInvalid, "ca")
	valid.Spec.Finalization = &v1alpha1.Finalization{Time: metav1.NewTime(now.Add(-7 * time.Second))}
	m.OrderChanged(pending, valid, true, now)
	m.OrderChanged(valid, valid, true, now)
	revoked := valid.DeepCopy()
	revoked.Status.RevokedAt, revoked.Spec.Revocation = &metav1.Time{Time: now}, &v1alpha1.Revocation{Reason: int(ca.Superseded)}
	m.OrderChanged(valid, revoked, true, now)
	failed.Status.Problem = &v1alpha1.Problem{Type: "what a perspective says"}
	m.OrderChanged(pending, failed, true, now)
	for name, c := range map[string]prometheus.Collector{
		"issued":  m.issued.WithLabelValues("team", "ca"),
		"failed":  m.failed.WithLabelValues("team", "ca", "other"),
		"revoked": m.revoked.WithLabelValues("team", "ca", "superseded"),
	} {
		if n := testutil.ToFloat64(c); n != 1 {
			t.Errorf("%s: %v", name, n)
		}
	}
	m.OrderChanged(pending, failed, false, now)
	if n := testutil.ToFloat64(m.failed.WithLabelValues("", "", "other")); n != 1 {
		t.Errorf("an order of an issuer that does not exist: %v", n)
	}
	m.failed.Reset()
	m.PodAnswered(types.NamespacedName{Namespace: "team", Name: "ca"}, v1alpha1.ReasonIssued)
	m.Forget(types.NamespacedName{Namespace: "team", Name: "ca"})
	for _, c := range []prometheus.Collector{m.issued, m.failed, m.revoked, m.issuance, m.pods} {
		if n := testutil.CollectAndCount(c); n != 0 {
			t.Errorf("%d series of an issuer that is gone", n)
		}
	}
	var none *Metrics
	none.OrderChanged(pending, valid, true, now)
	none.AttemptEnded(acme.HTTP01, validation.Result{}, time.Second)
}

// listed is a cache with these issuers.
type listed struct {
	client.Reader
	issuers []v1alpha1.AcmeIssuer
	err     error
}

func (l listed) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	list.(*v1alpha1.AcmeIssuerList).Items = l.issuers
	return l.err
}

// noCRLs is a Part without metrics.
type noCRLs struct{}

func (noCRLs) Descriptions() []*prometheus.Desc { return nil }
func (noCRLs) Collect(Gauge)                    {}

func TestOnlyTheLeaderTellsWhatThereIs(t *testing.T) {
	working := make(chan struct{})
	accounts, authorizations := newTallies()
	orders := inventory.New(nil)
	for name, state := range map[string]acme.State{"one": acme.StateValid, "two": acme.StateValid, "three": acme.StatePending} {
		order := orderIn(state, "a name of the ACME server's")
		order.Name = name
		orders.Stored(order, 1, false)
	}
	pool := pool.New(pool.Config{})
	defer pool.Close()
	stored := budget.New(budget.Limits{Total: 100})
	stored.Add("AcmeOrder", map[types.NamespacedName]int64{{}: 7, {Namespace: "a", Name: "of the ACME server"}: 8})
	s := &stateCollector{
		Sources: Sources{Issuers: &issuers.Registry{}, CRLs: noCRLs{}, Pool: pool, Budget: stored, Inventory: orders},
		working: working, reader: listed{issuers: make([]v1alpha1.AcmeIssuer, 1)},
		accounts: accounts, authorizations: authorizations,
	}
	if n := testutil.CollectAndCount(s); n != 0 {
		t.Errorf("%d series of who isn't the leader", n)
	}
	close(working)
	if n := testutil.CollectAndCount(s, "acmeca_issuer_ready"); n != 1 {
		t.Errorf("%d issuers", n)
	}
	want := `# HELP acmeca_stored_bytes Bytes that objects use in etcd, by issuer and kind; without old revisions and etcd's own overhead.
# TYPE acmeca_stored_bytes gauge
acmeca_stored_bytes{issuer="",issuer_namespace="",kind="AcmeOrder"} 15
# HELP acmeca_orders Orders, by issuer and state.
# TYPE acmeca_orders gauge
acmeca_orders{issuer="",issuer_namespace="",state="pending"} 1
acmeca_orders{issuer="",issuer_namespace="",state="valid"} 2
`
	if err := testutil.CollectAndCompare(s, strings.NewReader(want), "acmeca_stored_bytes", "acmeca_orders"); err != nil {
		t.Error(err)
	}
}
