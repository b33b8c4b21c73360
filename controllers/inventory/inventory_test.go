package inventory

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

// counted is a Bytes that records the bytes.
type counted struct {
	bytes    map[types.NamespacedName]int64
	expected int64
	all      bool
}

func (c *counted) Add(_ string, bytes map[types.NamespacedName]int64) {
	for issuer, n := range bytes {
		if c.bytes[issuer] += n; c.bytes[issuer] == 0 {
			delete(c.bytes, issuer)
		}
	}
}

func (c *counted) Expect(bytes int64, all bool) { c.expected, c.all = bytes, all }

// stored is an order as the API server has it.
type stored struct {
	*v1alpha1.AcmeOrder
	bytes   int
	damaged bool
}

// apiServer has orders, and sends events that arrive late.
type apiServer struct {
	orders map[string]stored
	events []func(*Orders)
}

func (a *apiServer) put(random *rand.Rand) {
	order := &v1alpha1.AcmeOrder{}
	order.Namespace, order.Name = "team", fmt.Sprintf("o%03d", random.IntN(40))
	order.Spec.IssuerRef.Name = fmt.Sprintf("ca%d", random.IntN(3))
	order.Status.State = states[1+random.IntN(len(states)-1)]
	if order.Status.State == acme.StateProcessing {
		order.Status.State, order.Spec.Finalization = acme.StateReady, &v1alpha1.Finalization{}
	}
	if random.IntN(3) == 0 {
		order.Spec.Replaces = fmt.Sprintf("certificate%d", random.IntN(20))
	}
	s := stored{order, 1 + random.IntN(5000), random.IntN(10) == 0}
	a.orders[order.Name] = s
	a.events = append(a.events, func(o *Orders) { o.Stored(s.AcmeOrder, s.bytes, s.damaged) })
}

func (a *apiServer) delete(random *rand.Rand) {
	if len(a.orders) == 0 {
		return
	}
	names := slices.Sorted(maps.Keys(a.orders))
	name := names[random.IntN(len(names))]
	s := a.orders[name]
	delete(a.orders, name)
	a.events = append(a.events, func(o *Orders) { o.Deleted(s.AcmeOrder) })
}

func (a *apiServer) deliver(o *Orders) {
	if len(a.events) > 0 {
		a.events[0](o)
		a.events = a.events[1:]
	}
}

// pages is a walk's list: a state of the orders, in pages.
type pages struct {
	orders []stored
}

func (a *apiServer) list() *pages {
	p := &pages{}
	for _, name := range slices.Sorted(maps.Keys(a.orders)) {
		p.orders = append(p.orders, a.orders[name])
	}
	return p
}

func (p *pages) read(w *Walk) (more bool) {
	n := min(5, len(p.orders))
	for _, s := range p.orders[:n] {
		w.Note(s.AcmeOrder, s.bytes, s.damaged)
	}
	p.orders = p.orders[n:]
	w.Remaining(int64(len(p.orders)))
	return len(p.orders) > 0
}

// check compares an inventory with the stored orders.
func (a *apiServer) check(t *testing.T, o *Orders, bytes *counted) {
	t.Helper()
	want, wantBytes := map[Count]int{}, map[types.NamespacedName]int64{}
	for _, s := range a.orders {
		wantBytes[issuerOf(s.AcmeOrder)] += int64(s.bytes)
		if !s.damaged {
			want[Count{Issuer: issuerOf(s.AcmeOrder), State: states[stateOf(s.AcmeOrder, false)]}]++
		}
		if replaced, known := o.Replaced().Contains(issuerOf(s.AcmeOrder), s.Spec.Replaces); s.Spec.Replaces != "" &&
			s.Status.State == acme.StateValid && known && !replaced {
			t.Errorf("%s replaces %s, which is said to be replaced by none", s.Name, s.Spec.Replaces)
		}
	}
	counts, all := o.Counts()
	got := map[Count]int{}
	for _, c := range counts {
		got[Count{Issuer: c.Issuer, State: c.State}] = c.Orders
	}
	if !maps.Equal(got, want) || !all {
		t.Errorf("counts are %v, want %v; all: %v", got, want, all)
	}
	if !maps.Equal(bytes.bytes, wantBytes) || bytes.expected != 0 || !bytes.all {
		t.Errorf("bytes are %v, want %v; %d more are expected", bytes.bytes, wantBytes, bytes.expected)
	}
}

// After any history of changes, late events, lost watches and walks, a complete walk and the last event lead to the stored orders.
func TestInventoryIsWhatIsStored(t *testing.T) {
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, 1))
		bytes := &counted{bytes: map[types.NamespacedName]int64{}}
		o, server := New(bytes), &apiServer{orders: map[string]stored{}}
		for range random.IntN(30) {
			server.put(random)
		}
		server.events = nil // stored before the watch
		var w *Walk
		var list *pages
		for range 400 {
			switch n := random.IntN(100); {
			case n < 30:
				server.put(random)
			case n < 40:
				server.delete(random)
			case n < 80:
				server.deliver(o)
			case n < 81:
				server.events = nil
				o.Missed()
			case w == nil:
				w = o.Begin()
				list = server.list()
			case !list.read(w):
				w.Complete()
				w = nil
			}
		}
		for len(server.events) > 0 {
			server.deliver(o)
		}
		w = o.Begin()
		for list = server.list(); list.read(w); {
			if random.IntN(2) == 0 {
				server.put(random)
			} else {
				server.delete(random)
			}
			server.deliver(o)
		}
		w.Complete()
		for len(server.events) > 0 {
			server.deliver(o)
		}
		server.check(t, o, bytes)
		if t.Failed() {
			t.Fatal("seed", seed)
		}
	}
}

func valid(name, replaces string) *v1alpha1.AcmeOrder {
	order := &v1alpha1.AcmeOrder{}
	order.Namespace, order.Name, order.Spec.IssuerRef.Name = "team", name, "ca"
	order.Spec.Replaces, order.Status.State = replaces, acme.StateValid
	return order
}

func TestTheFirstWalkEstimatesTheBytesThatItHasNotRead(t *testing.T) {
	bytes := &counted{bytes: map[types.NamespacedName]int64{}, all: true}
	o := New(bytes)
	if bytes.all {
		t.Error("all is counted before the first walk")
	}
	w := o.Begin()
	w.Note(valid("a", ""), 100, false)
	w.Note(valid("b", ""), 300, false)
	if w.Remaining(10); bytes.expected != 2000 || bytes.all {
		t.Errorf("%d bytes are expected, all: %v", bytes.expected, bytes.all)
	}
	w.Complete()
	w = o.Begin()
	w.Note(valid("a", ""), 100, false)
	if w.Remaining(10); bytes.expected != 0 || !bytes.all {
		t.Errorf("in the second walk, %d bytes are expected, all: %v", bytes.expected, bytes.all)
	}
}

// An order takes at most 64 bytes, also if it replaces a certificate and just after the tables grew.
func TestAnOrderTakesLittleMemory(t *testing.T) {
	o := New(nil)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, most := heap(), 0.0
	w := o.Begin()
	const orders = 200_000
	for i := range orders {
		w.Note(valid(fmt.Sprintf("order%d", i), fmt.Sprintf("certificate%d", i)), 4000, false)
		if i > orders/4 && i%10_000 == 0 {
			most = max(most, float64(heap()-before)/float64(i))
		}
	}
	w.Complete()
	t.Logf("at most %.0f bytes an order", most)
	if most > 64 {
		t.Errorf("an order takes %.0f bytes", most)
	}
	runtime.KeepAlive(o)
}
