package informer

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// expectLoss waits until the history went back, and checks the report.
func (f *follower) expectLoss(t *testing.T, versions string) {
	t.Helper()
	if err := f.informers.history.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "AcmeOrder went back from resourceVersion "+versions) {
		t.Errorf("got %v", err)
	}
	if f.informers.history.ready(nil) == nil {
		t.Error("it is ready")
	}
}

func (f *follower) expectNoLoss(t *testing.T) {
	t.Helper()
	if err := f.informers.history.ready(nil); err != nil {
		t.Error(err)
	}
}

// A watch that starts again finds that the API server's objects are older than the cache.
func TestAWatchNoticesThatHistoryWentBack(t *testing.T) {
	server := &apiServer{version: 5, orders: []string{storedOrder("a", "one", 5, "")}}
	f := follow(t, server)
	f.expect(t, 5, 0, "a/one")
	server.send(t, "MODIFIED", storedOrder("a", "one", 9, ""))
	f.expect(t, 9, 0, "a/one")
	server.goBack(8)
	server.send(t, "", "")
	f.expectLoss(t, "9 to 8")
}

// A list after a watch failed finds it too, and the cache doesn't get the older objects.
func TestAListNoticesThatHistoryWentBack(t *testing.T) {
	server := &apiServer{version: 10, orders: []string{storedOrder("a", "one", 5, "")}}
	f := follow(t, server)
	f.expect(t, 10, 0, "a/one")
	server.goBack(9)
	server.send(t, "ERROR", `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410}`)
	f.expectLoss(t, "10 to 9")
	f.expect(t, 10, 0, "a/one")
}

// The API server may be ahead of a cache, and at the cache's version.
func TestHistoryThatGoesOn(t *testing.T) {
	server := &apiServer{version: 10, orders: []string{storedOrder("a", "one", 5, "")}}
	f := follow(t, server)
	f.expect(t, 10, 0, "a/one")
	server.send(t, "", "")
	server.send(t, "ADDED", storedOrder("a", "two", 12, ""))
	f.expect(t, 12, 0, "a/one", "a/two")
	server.goBack(200)
	server.send(t, "", "")
	server.send(t, "ADDED", storedOrder("a", "three", 201, ""))
	f.expect(t, 201, 0, "a/one", "a/two", "a/three")
	f.expectNoLoss(t)
}

// A write whose version is older than the cache is checked by a list: a write that changes nothing returns the object's own version.
func TestWritesNoticeThatHistoryWentBack(t *testing.T) {
	for name, write := range map[string]func(client.Client, *v1alpha1.AcmeOrder) error{
		"create": func(c client.Client, o *v1alpha1.AcmeOrder) error {
			o.ResourceVersion = ""
			return c.Create(t.Context(), o)
		},
		"update": func(c client.Client, o *v1alpha1.AcmeOrder) error { return c.Update(t.Context(), o) },
		"patch": func(c client.Client, o *v1alpha1.AcmeOrder) error {
			return c.Patch(t.Context(), o, client.RawPatch("application/merge-patch+json", []byte(`{}`)))
		},
		"status": func(c client.Client, o *v1alpha1.AcmeOrder) error { return c.Status().Update(t.Context(), o) },
		"patch of the status": func(c client.Client, o *v1alpha1.AcmeOrder) error {
			return c.Status().Patch(t.Context(), o, client.RawPatch("application/merge-patch+json", []byte(`{}`)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := &apiServer{version: 20, orders: []string{storedOrder("a", "one", 5, "")}}
			f := follow(t, server)
			f.expect(t, 20, 0, "a/one")
			c := f.client(t)
			for _, version := range []int{5, 21, 30} { // no change, a change, a change that the cache lacks
				server.write(version)
				if err := write(c, orderOf(t, "5")); err != nil {
					t.Fatal(err)
				}
			}
			server.awaitLists(t, 2)
			f.expectNoLoss(t)
			server.goBack(12)
			server.write(12)
			if err := write(c, orderOf(t, "5")); err != nil {
				t.Fatal(err)
			}
			f.expectLoss(t, "20 to 12")
		})
	}
}

// write makes the server answer writes with an order of a version.
func (s *apiServer) write(version int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written = storedOrder("a", "one", version, "")
}

func (s *apiServer) goBack(version int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version = version
}

func (s *apiServer) awaitLists(t *testing.T, n int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		lists := s.lists
		s.mu.Unlock()
		if lists == n {
			return
		}
		if lists > n || time.Now().After(deadline) {
			t.Fatalf("%d lists, want %d", lists, n)
		}
	}
}

func orderOf(t *testing.T, version string) *v1alpha1.AcmeOrder {
	t.Helper()
	order := &v1alpha1.AcmeOrder{}
	if err := json.Unmarshal([]byte(storedOrder("a", "one", 5, "")), order); err != nil {
		t.Fatal(err)
	}
	order.ResourceVersion = version
	return order
}

func orderMapper() meta.RESTMapper {
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(v1alpha1.GroupVersion.WithKind("AcmeOrder"), meta.RESTScopeNamespace)
	return mapper
}

func (f *follower) client(t *testing.T) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c, err := f.informers.NewClient(&rest.Config{Host: f.url}, client.Options{Scheme: scheme, HTTPClient: http.DefaultClient, Mapper: orderMapper()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
