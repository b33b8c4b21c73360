package informer

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/ordercache"
)

// modelOrder is an order of a modelServer.
type modelOrder struct {
	name, state string
	version     int
	revoking    bool
	bad         bool // it can't be decoded
}

func (o modelOrder) held() bool {
	return o.state == "pending" || o.state == "valid" && o.revoking
}

func (o modelOrder) json() string {
	notBefore := ""
	if o.bad {
		notBefore = unreadableTime
	}
	text := strings.Replace(storedOrder("a", o.name, o.version, notBefore), `"state":"pending"`, fmt.Sprintf(`"state":%q`, o.state), 1)
	if o.revoking {
		text = strings.Replace(text, `"spec":{`, `"spec":{"revocation":{"reason":0},`, 1)
	}
	return text
}

type modelEvent struct {
	version int
	line    string
}

// modelServer is an API server with orders: lists with the selectors of caches, reads and watches from a version.
type modelServer struct {
	t *testing.T

	mu      sync.Mutex
	random  *rand.Rand
	changed chan struct{} // closed at each change
	breaks  int           // the number of times that watches were broken
	orders  map[string]modelOrder
	created int
	version int
	forgot  int // watches from an earlier version are refused
	events  []modelEvent
	// invalid has the orders that could not be decoded at a time. They look deleted meanwhile.
	invalid map[string]bool
	// between is called before each answer but to watches.
	between func()
}

func newModelServer(t *testing.T, seed uint64) *modelServer {
	return &modelServer{t: t, random: rand.New(rand.NewPCG(seed, seed)), changed: make(chan struct{}), orders: map[string]modelOrder{}, version: 1, invalid: map[string]bool{}}
}

// change makes a random change. s.mu is held.
func (s *modelServer) change() {
	names := slices.Sorted(maps.Keys(s.orders))
	kind := "MODIFIED"
	order := modelOrder{name: fmt.Sprintf("new-%d", s.created), state: "pending", bad: s.random.IntN(20) == 0}
	if len(names) > 0 {
		order = s.orders[names[s.random.IntN(len(names))]]
	}
	switch choice := s.random.IntN(12); {
	case len(names) == 0 || choice < 3:
		order = modelOrder{name: fmt.Sprintf("new-%d", s.created), state: "pending", bad: s.random.IntN(20) == 0}
		s.created++
		kind = "ADDED"
	case choice < 7 && order.state == "pending":
		order.state = []string{"valid", "valid", "invalid"}[s.random.IntN(3)]
	case choice < 8 && order.state == "valid":
		order.revoking = !order.revoking
	case choice < 9:
		kind = "DELETED"
	case choice < 10:
		order.bad = !order.bad
	}
	s.version++
	order.version = s.version
	s.invalid[order.name] = s.invalid[order.name] || order.bad
	if s.orders[order.name] = order; kind == "DELETED" {
		delete(s.orders, order.name)
	}
	s.events = append(s.events, modelEvent{s.version, fmt.Sprintf(`{"type":%q,"object":%s}`, kind, order.json())})
	s.wake()
}

func (s *modelServer) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// ServeHTTP implements http.Handler.
func (s *modelServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Query().Get("watch") != "" {
		s.serveWatch(w, r)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.between != nil {
		s.between()
	}
	if _, name, single := strings.Cut(r.URL.Path, "/acmeorders/"); single {
		if order, found := s.orders[name]; found {
			fmt.Fprint(w, order.json())
			return
		}
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`)
		return
	}
	if query := r.URL.Query(); query.Get("fieldSelector") == "" && query.Get("limit") != "1" {
		s.t.Error("a list of all orders")
	}
	var items []string
	for _, name := range slices.Sorted(maps.Keys(s.orders)) {
		order := s.orders[name]
		selector := r.URL.Query().Get("fieldSelector")
		if selector == "" || selector == ordercache.Selectors()[0] && order.state == "pending" ||
			selector == ordercache.Selectors()[1] && order.state == "valid" && order.revoking {
			items = append(items, order.json())
		}
	}
	fmt.Fprintf(w, `{"apiVersion":"acmeca.dev/v1alpha1","kind":"AcmeOrderList","metadata":{"resourceVersion":"%d"},"items":[%s]}`, s.version, strings.Join(items, ","))
}

func (s *modelServer) serveWatch(w http.ResponseWriter, r *http.Request) {
	from, err := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	if err != nil || r.URL.Query().Get("fieldSelector") != "" {
		s.t.Errorf("an unexpected watch: %s", r.URL)
	}
	s.mu.Lock()
	breaks := s.breaks
	s.mu.Unlock()
	w.(http.Flusher).Flush()
	for {
		s.mu.Lock()
		changed, broken := s.changed, s.breaks != breaks
		var lines []string
		for _, e := range s.events {
			if e.version > from {
				lines = append(lines, e.line)
			}
		}
		if from < s.forgot {
			lines, broken = []string{`{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410}}`}, true
		} else {
			from = s.version
		}
		if broken && len(lines) > 0 && s.forgot <= from {
			lines = lines[:s.random.IntN(len(lines)+1)] // it breaks on the way
		}
		s.mu.Unlock()
		for _, line := range lines {
			fmt.Fprintln(w, line)
		}
		w.(http.Flusher).Flush()
		if broken {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

// modelCache is the store of a reflector, and tells a handler as client-go does.
type modelCache struct {
	handler toolscache.ResourceEventHandler

	mu     sync.Mutex
	orders map[string]*v1alpha1.AcmeOrder
}

func (c *modelCache) Add(object any) error {
	order := object.(*v1alpha1.AcmeOrder)
	c.mu.Lock()
	defer c.mu.Unlock()
	if before, ok := c.orders[order.Name]; ok {
		c.handler.OnUpdate(before, order)
	} else {
		c.handler.OnAdd(order, false)
	}
	c.orders[order.Name] = order
	return nil
}

func (c *modelCache) Update(object any) error { return c.Add(object) }

func (c *modelCache) Delete(object any) error {
	order := object.(*v1alpha1.AcmeOrder)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.orders, order.Name)
	c.handler.OnDelete(order)
	return nil
}

func (c *modelCache) Replace(objects []any, _ string) error {
	listed := map[string]bool{}
	for _, object := range objects {
		listed[object.(*v1alpha1.AcmeOrder).Name] = true
	}
	c.mu.Lock()
	for name, order := range c.orders {
		if !listed[name] {
			delete(c.orders, name)
			c.handler.OnDelete(toolscache.DeletedFinalStateUnknown{Key: "a/" + name, Obj: order})
		}
	}
	c.mu.Unlock()
	for _, object := range objects {
		_ = c.Add(object)
	}
	return nil
}

func (c *modelCache) Resync() error { return nil }

func (c *modelCache) versions() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	versions := map[string]string{}
	for name, order := range c.orders {
		versions[name] = order.ResourceVersion
	}
	return versions
}

// waiter checks the events of each order: no state is older than the one before, and an order that is deleted is not changed.
type waiter struct {
	t  *testing.T
	mu sync.Mutex
	// last is the last state of each order, without the deleted ones, and finished the orders that were told of as finished.
	last     map[string]*v1alpha1.AcmeOrder
	finished map[string]bool
	deleted  map[string]bool
}

func (w *waiter) OnAdd(object any, _ bool) { w.note(object.(*v1alpha1.AcmeOrder)) }
func (w *waiter) OnUpdate(_, object any)   { w.note(object.(*v1alpha1.AcmeOrder)) }

func (w *waiter) note(order *v1alpha1.AcmeOrder) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if before := w.last[order.Name]; before != nil && isOlder(order.ResourceVersion, before.ResourceVersion) {
		w.t.Errorf("%s goes back from version %s to %s", order.Name, before.ResourceVersion, order.ResourceVersion)
	}
	w.last[order.Name] = order
	w.finished[order.Name] = order.Finished()
}

func (w *waiter) OnDelete(object any) {
	if unknown, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		object = unknown.Obj
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.last, object.(*v1alpha1.AcmeOrder).Name)
	w.deleted[object.(*v1alpha1.AcmeOrder).Name] = true
}

// modelInformer knows the version that a reflector has reached.
type modelInformer struct {
	toolscache.SharedIndexInformer
	reflector *toolscache.Reflector
}

func (i *modelInformer) LastSyncResourceVersion() string {
	return i.reflector.LastSyncResourceVersion()
}

// followModel runs a reflector of orders against a server.
func followModel(t *testing.T, server *modelServer) (*modelCache, *waiter, *toolscache.Reflector) {
	t.Helper()
	serving := httptest.NewServer(server)
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	config := &rest.Config{Host: serving.URL, APIPath: "/apis", QPS: -1, ContentConfig: rest.ContentConfig{
		GroupVersion: &v1alpha1.GroupVersion, NegotiatedSerializer: serializer.NewCodecFactory(scheme), ContentType: "application/json",
	}}
	config.Wrap(DecodeAnswers)
	orders, err := rest.RESTClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	informers := New(Options{Orders: &told{}})
	if _, err := informers.NewClient(config, client.Options{Scheme: scheme, HTTPClient: http.DefaultClient, Mapper: orderMapper()}); err != nil {
		t.Fatal(err)
	}
	p := &paged{
		ListerWatcherWithContext: toolscache.ToListerWatcherWithContext(toolscache.NewFilteredListWatchFromClient(orders, "acmeorders", "", func(*metav1.ListOptions) {})),
		kind:                     &v1alpha1.AcmeOrder{}, from: informers, skipped: newTestSkipped("AcmeOrder"), sizes: newStoredSizes("AcmeOrder", nil), members: newMembers(),
	}
	w := &waiter{t: t, last: map[string]*v1alpha1.AcmeOrder{}, finished: map[string]bool{}, deleted: map[string]bool{}}
	cache := &modelCache{handler: deaf{w}, orders: map[string]*v1alpha1.AcmeOrder{}}
	reflector := toolscache.NewReflectorWithOptions(p, &v1alpha1.AcmeOrder{}, cache, toolscache.ReflectorOptions{Backoff: &wait.Backoff{Duration: time.Millisecond, Steps: 1}})
	p.informer = &modelInformer{reflector: reflector}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		reflector.RunWithContext(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		serving.CloseClientConnections()
		serving.Close()
	})
	return cache, w, reflector
}

// expectModel waits until the cache has the orders of the server that it is to hold, and checks the handler's view.
func expectModel(t *testing.T, server *modelServer, cache *modelCache, w *waiter) {
	t.Helper()
	differs := func() string {
		server.mu.Lock()
		defer server.mu.Unlock()
		want := map[string]string{}
		for name, order := range server.orders {
			if order.held() && !order.bad {
				want[name] = fmt.Sprint(order.version)
			}
		}
		if diff := cmp.Diff(want, cache.versions()); diff != "" {
			return "the cache differs: " + diff
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		for name, last := range w.last {
			order, exists := server.orders[name]
			if exists && !order.bad && last.Status.State != acme.State(order.state) {
				return fmt.Sprintf("the last state of %s was %s, not %s", name, last.Status.State, order.state)
			}
			if !exists && !last.Finished() {
				return name + " was not reported as deleted"
			}
		}
		for name := range w.deleted {
			if _, exists := server.orders[name]; exists && !server.invalid[name] {
				return name + " was reported as deleted"
			}
		}
		return ""
	}
	fault := differs()
	for deadline := time.Now().Add(20 * time.Second); fault != "" && time.Now().Before(deadline); fault = differs() {
		time.Sleep(time.Millisecond)
	}
	if fault != "" {
		t.Fatal(fault)
	}
}

// Over random histories, the cache has exactly the orders that it is to hold, and event handlers hear how each order ends: also if
// watches break, versions expire, and orders change between the requests of a list.
func TestCachesOfUnfinishedOrders(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			server := newModelServer(t, seed)
			for range 10 {
				server.change()
			}
			server.between = func() {
				for range server.random.IntN(3) {
					server.change()
				}
			}
			cache, w, _ := followModel(t, server)
			for range 25 {
				server.mu.Lock()
				for range server.random.IntN(8) {
					server.change()
				}
				switch server.random.IntN(4) {
				case 0:
					server.breaks++
				case 1:
					server.breaks++
					server.forgot = server.version
					server.change()
				}
				server.wake()
				compare := server.random.IntN(3) == 0
				server.mu.Unlock()
				if compare {
					expectModel(t, server, cache, w)
				}
			}
			expectModel(t, server, cache, w)
		})
	}
}

// A cache that lists again tells of the end of an order that finished meanwhile, instead of its deletion.
func TestAListAfterAnOrderFinished(t *testing.T) {
	server := newModelServer(t, 1)
	server.orders = map[string]modelOrder{"one": {name: "one", state: "pending", version: 1}, "two": {name: "two", state: "pending", version: 1}}
	cache, w, _ := followModel(t, server)
	expectModel(t, server, cache, w)
	server.mu.Lock()
	server.orders = map[string]modelOrder{"one": {name: "one", state: "valid", version: 3}}
	server.version, server.forgot = 4, 4
	server.breaks++
	server.wake()
	server.mu.Unlock()
	expectModel(t, server, cache, w)
	if !w.finished["one"] || w.deleted["one"] || w.finished["two"] || !w.deleted["two"] {
		t.Errorf("finished %v, deleted %v", w.finished, w.deleted)
	}
}

// An informer drops an order that finished after its handlers heard of it, and tells them of each later change and of the deletion.
func TestInformersDropFinishedOrders(t *testing.T) {
	server := &apiServer{version: 1}
	f := followUnfinished(t, server)
	f.expect(t, 1, 0)
	valid := func(version int) string {
		return modelOrder{name: "one", state: "valid", version: version}.json()
	}
	server.send(t, "ADDED", storedOrder("a", "one", 2, ""))
	f.expect(t, 2, 0, "a/one")
	for version := 3; version < 5; version++ {
		server.send(t, "MODIFIED", valid(version))
	}
	server.send(t, "ADDED", storedOrder("a", "two", 5, ""))
	f.expectCached(t, 5, "a/two")
	server.send(t, "MODIFIED", modelOrder{name: "one", state: "valid", version: 6, revoking: true}.json())
	f.expectCached(t, 6, "a/one", "a/two")
	server.send(t, "DELETED", valid(7))
	f.expectCached(t, 7, "a/two")
	want := []string{"add 2", "update 3", "add 4", "add 6", "delete 7"}
	if got := f.heard.of("one"); !slices.Equal(got, want) {
		t.Errorf("heard %v, want %v", got, want)
	}
}

func TestHeldOrdersAreSelected(t *testing.T) {
	for _, state := range []acme.State{"", acme.StatePending, acme.StateReady, acme.StateProcessing, acme.StateValid, acme.StateInvalid} {
		for _, reason := range []string{"", "0", "1"} {
			order := &v1alpha1.AcmeOrder{Status: v1alpha1.AcmeOrderStatus{State: state}}
			if reason != "" {
				order.Spec.Revocation = &v1alpha1.Revocation{}
			}
			matches := 0
			for _, text := range ordercache.Selectors() {
				selector, err := fields.ParseSelector(text)
				if err != nil {
					t.Fatal(err)
				}
				if selector.Matches(fields.Set{"status.state": string(state), "spec.revocation.reason": reason}) {
					matches++
				}
			}
			if held := ordercache.Holds(order); matches > 1 || held != (matches == 1) {
				t.Errorf("state %q, reason %q: held %t, %d selectors match", state, reason, held, matches)
			}
		}
	}
}
