package replaced

import (
	"runtime"
	"strconv"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

var ca = types.NamespacedName{Namespace: "team", Name: "ca"}

func order(replaces string, state acme.State) *v1alpha1.AcmeOrder {
	order := &v1alpha1.AcmeOrder{}
	order.Namespace, order.Spec.IssuerRef.Name = ca.Namespace, ca.Name
	order.Spec.Replaces, order.Status.State = replaces, state
	return order
}

// expectations compares the answers of a set with those that a test expects.
type expectations struct {
	*testing.T
	set *Certificates
}

func (e expectations) expect(when, id string, replaced, known bool) {
	e.Helper()
	if r, k := e.set.Contains(ca, id); r != replaced || k != known {
		e.Errorf("%s: %s is replaced: %v, known: %v", when, id, r, k)
	}
}

func TestOnlyAWalkWithoutMissedEventsTellsOfAllCertificates(t *testing.T) {
	e := expectations{t, New()}
	e.expect("before the first list", "first", false, false)
	e.set.Missed()
	if len(e.set.Again()) != 1 {
		t.Error("the first list starts no walk")
	}
	e.set.BeginWalk()
	if len(e.set.Again()) != 0 {
		t.Error("a walk is due that has begun")
	}
	e.set.Note(order("second", acme.StateValid))
	e.expect("in the walk", "first", false, false)
	e.set.EndWalk()
	e.expect("after the walk", "first", false, true)
	e.expect("after the walk", "second", true, true)

	e.set.Missed()
	e.expect("after a lost watch", "third", false, false)
	e.set.BeginWalk()
	e.set.Missed()
	e.set.EndWalk()
	e.expect("after a walk during which a watch was lost", "third", false, false)
	e.set.BeginWalk()
	e.set.EndWalk()
	e.expect("after another walk", "third", false, true)
	e.expect("after another walk that did not meet its order", "second", false, true)
}

func TestEventsTellOfCertificates(t *testing.T) {
	e := expectations{t, New()}
	e.set.BeginWalk()
	e.set.EndWalk()
	for _, state := range []acme.State{"", acme.StatePending, acme.StateReady, acme.StateProcessing, acme.StateInvalid} {
		e.set.Stored(order("first", state), 1, false)
		e.expect("after an order in state "+string(state), "first", false, true)
	}
	e.set.Stored(order("first", acme.StateValid), 1, false)
	e.expect("after a valid order", "first", true, true)
	if replaced, _ := e.set.Contains(types.NamespacedName{Namespace: ca.Namespace, Name: "other"}, "first"); replaced {
		t.Error("a certificate of another issuer counts as replaced")
	}
	e.set.Deleted(order("first", acme.StateInvalid))
	e.expect("after the deletion of an invalid order", "first", true, true)
	e.set.Deleted(order("first", acme.StateValid))
	e.expect("after the deletion of the valid order", "first", false, true)
	e.set.Stored(order("", acme.StateValid), 1, false)
	e.expect("after an order that replaces nothing", "", false, true)
}

func TestNoSetKnowsNothing(t *testing.T) {
	e := expectations{t, nil}
	e.set.Missed()
	e.set.BeginWalk()
	e.set.Stored(order("first", acme.StateValid), 1, false)
	e.set.EndWalk()
	e.set.Deleted(order("first", acme.StateValid))
	e.expect("without a set", "first", false, false)
	if e.set.Again() != nil {
		t.Error("a walk is due without a set")
	}
}

// A certificate takes at most 24 bytes, just after the tables grew.
func TestACertificateTakesLittleMemory(t *testing.T) {
	set := New()
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, most := heap(), 0.0
	for i := range 200_000 {
		set.Note(order(strconv.Itoa(i), acme.StateValid))
		if i > 50_000 && i%10_000 == 0 {
			most = max(most, float64(heap()-before)/float64(i))
		}
	}
	t.Logf("at most %.0f bytes a certificate", most)
	if most > 24 {
		t.Errorf("a certificate takes %.0f bytes", most)
	}
	runtime.KeepAlive(set)
}
