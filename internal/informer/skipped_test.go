package informer

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

func newTestSkipped(kind string) *skippedObjects {
	return newSkippedObjects(context.Background(), kind, newSkippedGauge(prometheus.NewRegistry()))
}

// unreadableTime is accepted by the format date-time of a CRD's schema, and refused by Go.
const unreadableTime = "2026-01-01t00:00:00z"

// storedOrder returns an order as the API server sends it. An empty notBefore is left out.
func storedOrder(namespace, name string, version int, notBefore string) string {
	spec := `{"issuerRef":{"name":"default"},"accountRef":{"name":"a"},"identifiers":[{"type":"dns","value":"a.test"}]}`
	if notBefore != "" {
		spec = strings.Replace(spec, "{", fmt.Sprintf(`{"notBefore":%q,`, notBefore), 1)
	}
	return fmt.Sprintf(`{"apiVersion":"acmeca.dev/v1alpha1","kind":"AcmeOrder","metadata":{"namespace":%q,"name":%q,"uid":%q,"resourceVersion":"%d"},"spec":%s,"status":{"state":"pending"}}`,
		namespace, name, namespace+"/"+name, version, spec)
}

// apiServer serves lists and watches of orders.
type apiServer struct {
	mu      sync.Mutex
	orders  []string
	version int
	watched []string // the versions that watches began at
	lists   int
	written string // the answer to a write

	events chan string // the lines of the current watch; "" ends it
}

// ServeHTTP implements http.Handler.
func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Query().Get("watch") == "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		if r.Method != http.MethodGet {
			fmt.Fprint(w, s.written)
			return
		}
		s.lists++
		fmt.Fprintf(w, `{"apiVersion":"acmeca.dev/v1alpha1","kind":"AcmeOrderList","metadata":{"resourceVersion":"%d"},"items":[%s]}`, s.version, strings.Join(s.orders, ","))
		return
	}
	s.mu.Lock()
	s.watched = append(s.watched, r.URL.Query().Get("resourceVersion"))
	s.mu.Unlock()
	w.(http.Flusher).Flush()
	for {
		select {
		case line := <-s.events:
			if line == "" {
				return
			}
			fmt.Fprintln(w, line)
			w.(http.Flusher).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

func (s *apiServer) send(t *testing.T, kind, object string) {
	t.Helper()
	line := ""
	if kind != "" {
		line = fmt.Sprintf(`{"type":%q,"object":%s}`, kind, object)
		if version := regexp.MustCompile(`"resourceVersion":"(\d+)"`).FindStringSubmatch(object); version != nil {
			s.mu.Lock()
			s.version, _ = strconv.Atoi(version[1])
			s.mu.Unlock()
		}
	}
	select {
	case s.events <- line:
	case <-time.After(time.Minute):
		t.Fatal("nobody watches")
	}
}

// heard counts the objects that an informer has told its handler of, by name, and the issuers that they name.
type heard struct {
	mu    sync.Mutex
	count map[string]int
	// events has the kind and version of each event, by the name of the order.
	events map[string][]string
}

func (h *heard) of(name string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.events[name])
}

func (h *heard) noteEvent(kind string, object any) {
	if order, ok := object.(*v1alpha1.AcmeOrder); ok {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.events[order.Name] = append(h.events[order.Name], kind+" "+order.ResourceVersion)
	}
}

func (h *heard) note(object any, n int) {
	if unknown, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		object = unknown.Obj
	}
	order := object.(*v1alpha1.AcmeOrder)
	h.mu.Lock()
	defer h.mu.Unlock()
	key := order.Name + " of " + order.Spec.IssuerRef.Name
	if h.count[key] += n; h.count[key] == 0 {
		delete(h.count, key)
	}
}

func (h *heard) OnAdd(object any, _ bool) { h.note(object, 1); h.noteEvent("add", object) }
func (h *heard) OnUpdate(before, object any) {
	h.note(before, -1)
	h.note(object, 1)
	h.noteEvent("update", object)
}
func (h *heard) OnDelete(object any) { h.note(object, -1); h.noteEvent("delete", object) }

func (h *heard) now() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.count)
}

// follower is an informer of an apiServer.
type follower struct {
	informer  toolscache.SharedIndexInformer
	heard     *heard
	gauge     *skippedGauge
	informers *Informers
	url       string

	mu     sync.Mutex
	stored map[types.NamespacedName]int64 // bytes by issuer
}

func (f *follower) count(_ string, by map[types.NamespacedName]int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for issuer, bytes := range by {
		if f.stored[issuer] += bytes; f.stored[issuer] == 0 {
			delete(f.stored, issuer)
		}
	}
}

func follow(t *testing.T, server *apiServer) *follower { return followWith(t, server, Options{}) }

// followUnfinished returns an informer that does not hold finished orders.
func followUnfinished(t *testing.T, server *apiServer) *follower {
	return followWith(t, server, Options{Orders: &told{}})
}

func followWith(t *testing.T, server *apiServer, o Options) *follower {
	t.Helper()
	server.events = make(chan string)
	serving := httptest.NewServer(server)
	t.Cleanup(serving.Close)
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	config := &rest.Config{Host: serving.URL, APIPath: "/apis", ContentConfig: rest.ContentConfig{
		GroupVersion: &v1alpha1.GroupVersion, NegotiatedSerializer: serializer.NewCodecFactory(scheme), ContentType: "application/json",
	}}
	config.Wrap(DecodeAnswers)
	client, err := rest.RESTClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	f := &follower{heard: &heard{count: map[string]int{}, events: map[string][]string{}}, gauge: newSkippedGauge(prometheus.NewRegistry()), url: serving.URL, stored: map[types.NamespacedName]int64{}}
	o.Count = f.count
	f.informers = New(o)
	f.informer = newInformer(toolscache.NewListWatchFromClient(client, "acmeorders", "", fields.Everything()), &v1alpha1.AcmeOrder{}, 0, nil, f.gauge, f.informers)
	if _, err := f.informer.AddEventHandler(f.heard); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.informer.RunWithContext(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return f
}

// expectCached waits until the cache has reached a version and has the named orders alone.
func (f *follower) expectCached(t *testing.T, version int, names ...string) {
	t.Helper()
	var keys []string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		keys = slices.Sorted(slices.Values(f.informer.GetStore().ListKeys()))
		if f.informer.LastSyncResourceVersion() == fmt.Sprint(version) && slices.Equal(keys, names) {
			return
		}
	}
	t.Fatalf("cached %v at version %s, want %v at %d", keys, f.informer.LastSyncResourceVersion(), names, version)
}

// expect waits until the cache has the named orders alone, its handlers agree, and the version and the number of skipped orders are these.
func (f *follower) expect(t *testing.T, version int, skipped int, names ...string) {
	t.Helper()
	var got string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		want := map[string]int{}
		for _, name := range names {
			_, bare, _ := strings.Cut(name, "/")
			want[bare+" of default"] = 1
		}
		keys := slices.Sorted(slices.Values(f.informer.GetStore().ListKeys()))
		counted := testutil.ToFloat64(f.gauge.gauge.WithLabelValues("AcmeOrder"))
		got = fmt.Sprintf("cached %v, told of %v, version %s, %v skipped", keys, f.heard.now(), f.informer.LastSyncResourceVersion(), counted)
		if slices.Equal(keys, slices.Sorted(slices.Values(names))) && maps.Equal(f.heard.now(), want) &&
			f.informer.LastSyncResourceVersion() == fmt.Sprint(version) && counted == float64(skipped) {
			return
		}
	}
	t.Fatalf("%s; want %v, version %d, %d skipped", got, names, version, skipped)
}

// One order that can't be decoded is absent from the cache, and the others are in it.
func TestAListLeavesOutAnUndecodableObject(t *testing.T) {
	server := &apiServer{version: 3, orders: []string{storedOrder("a", "one", 1, ""), storedOrder("b", "bad", 2, unreadableTime), storedOrder("c", "two", 3, "2026-01-01T00:00:00Z")}}
	f := follow(t, server)
	f.expect(t, 3, 1, "a/one", "c/two")
	server.send(t, "ADDED", storedOrder("a", "three", 4, ""))
	f.expect(t, 4, 1, "a/one", "c/two", "a/three")
}

// A watch goes on over undecodable orders: they leave the cache instead of being stale, and return when they can be decoded.
func TestAWatchLeavesOutAnUndecodableObject(t *testing.T) {
	server := &apiServer{version: 1, orders: []string{storedOrder("a", "one", 1, "")}}
	f := follow(t, server)
	f.expect(t, 1, 0, "a/one")
	for i, step := range []struct {
		kind    string
		name    string
		time    string
		skipped int
		cached  []string
	}{
		{"ADDED", "bad", unreadableTime, 1, []string{"a/one"}},
		{"MODIFIED", "bad", unreadableTime, 1, []string{"a/one"}},
		{"MODIFIED", "bad", "", 0, []string{"a/one", "a/bad"}},
		{"MODIFIED", "bad", unreadableTime, 1, []string{"a/one"}},
		{"MODIFIED", "bad", unreadableTime, 1, []string{"a/one"}},
		{"MODIFIED", "one", unreadableTime, 2, nil},
		{"DELETED", "bad", unreadableTime, 1, nil},
		{"ADDED", "bad", "", 1, []string{"a/bad"}},
		{"DELETED", "bad", unreadableTime, 1, nil},
		{"MODIFIED", "one", "", 0, []string{"a/one"}},
	} {
		server.send(t, step.kind, storedOrder("a", step.name, i+2, step.time))
		f.expect(t, i+2, step.skipped, step.cached...)
	}
}

// A watch that ends after an undecodable order goes on behind it, and a new list starts over.
func TestAWatchGoesOnBehindAnUndecodableObject(t *testing.T) {
	server := &apiServer{version: 1, orders: []string{storedOrder("a", "one", 1, "")}}
	f := follow(t, server)
	f.expect(t, 1, 0, "a/one")
	server.send(t, "MODIFIED", storedOrder("a", "one", 2, unreadableTime))
	f.expect(t, 2, 1)
	server.send(t, "", "")
	server.send(t, "ADDED", storedOrder("a", "two", 3, ""))
	f.expect(t, 3, 1, "a/two")
	server.mu.Lock()
	watched := slices.Clone(server.watched)
	server.orders, server.version = []string{storedOrder("a", "one", 4, ""), storedOrder("a", "two", 5, unreadableTime)}, 5
	server.mu.Unlock()
	if diff := cmp.Diff([]string{"1", "2"}, watched); diff != "" {
		t.Errorf("watched from %s", diff)
	}
	server.send(t, "ERROR", `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410}`)
	f.expect(t, 5, 1, "a/one")
}

// A watch that was replaced by a list changes nothing, and an object counts once however many informers skip it.
func TestSkippedObjects(t *testing.T) {
	gauge := newSkippedGauge(prometheus.NewRegistry())
	one, other := newSkippedObjects(t.Context(), "AcmeOrder", gauge), newSkippedObjects(t.Context(), "AcmeOrder", gauge)
	bad := skippedObject{types.NamespacedName{Namespace: "a", Name: "bad"}, fmt.Errorf("a reason")}
	count := func() float64 { return testutil.ToFloat64(gauge.gauge.WithLabelValues("AcmeOrder")) }
	one.replaceAll(1, []skippedObject{bad})
	one.remove(0, bad.name)
	if !one.has(bad.name) || count() != 1 {
		t.Error("a watch of an earlier list removes an object")
	}
	one.add(0, skippedObject{types.NamespacedName{Name: "old"}, nil})
	other.add(0, bad)
	other.add(0, bad)
	if count() != 1 {
		t.Errorf("%v objects, want 1", count())
	}
	one.replaceAll(2, nil)
	if one.has(bad.name) || count() != 1 {
		t.Errorf("%v objects after one informer has it again, want 1", count())
	}
	other.remove(0, bad.name)
	if count() != 0 {
		t.Errorf("%v objects, want 0", count())
	}
}

// Salvaged objects have all members but those at fault.
func TestSalvage(t *testing.T) {
	whole := storedOrder("a", "bad", 7, "")
	for name, test := range map[string]struct {
		text       string
		issuer     string
		identifier int
		fails      bool
	}{
		"a time":                   {storedOrder("a", "bad", 7, unreadableTime), "default", 1, false},
		"two times":                {strings.Replace(storedOrder("a", "bad", 7, unreadableTime), "{\"issuerRef", "{\"notAfter\":7,\"issuerRef", 1), "default", 1, false},
		"a member within an array": {strings.Replace(whole, `"dns"`, `7`, 1), "default", 0, false},
		"an element of an array":   {strings.Replace(whole, `[{`, `[7,{`, 1), "default", 0, false},
		"a duplicate member":       {strings.Replace(whole, `"spec":{`, `"spec":{"csr":"","csr":"",`, 1), "", 0, false},
		"the spec":                 {`{"apiVersion":"acmeca.dev/v1alpha1","kind":"AcmeOrder","metadata":{"namespace":"a","name":"bad","resourceVersion":"7"},"spec":7}`, "", 0, false},
		"no metadata":              {`{"spec":7}`, "", 0, true},
		"metadata that is invalid": {`{"metadata":7}`, "", 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			e := event{of: reflect.TypeFor[v1alpha1.AcmeOrder]()}
			err := json.Unmarshal([]byte(`{"type":"MODIFIED","object":`+test.text+`}`), &e, envelope)
			if test.fails {
				if err == nil {
					t.Errorf("got %+v", e.object)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			order := e.object.(*v1alpha1.AcmeOrder)
			if e.reason == nil || order.Name != "bad" || order.Namespace != "a" || order.ResourceVersion != "7" || order.Kind != "AcmeOrder" {
				t.Errorf("%v, %+v", e.reason, order)
			}
			if order.Spec.IssuerRef.Name != test.issuer || len(order.Spec.Identifiers) != test.identifier {
				t.Errorf("issuer %q, identifiers %v", order.Spec.IssuerRef.Name, order.Spec.Identifiers)
			}
		})
	}
}
