package informer

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// walked serves orders in pages of two. The state of the first page is gone before the third one is asked for.
type walked struct {
	orders []string
	limits []string
}

// ServeHTTP implements http.Handler.
func (s *walked) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	query := r.URL.Query()
	s.limits = append(s.limits, query.Get("limit"))
	state, from := "old", 0
	_, _ = fmt.Sscanf(query.Get("continue"), "%3s %d", &state, &from)
	if state == "old" && from == 4 {
		w.WriteHeader(http.StatusGone)
		fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410,"metadata":{"continue":"new 4"}}`)
		return
	}
	to := min(from+2, len(s.orders))
	left := ""
	if to < len(s.orders) {
		left = fmt.Sprintf(`,"continue":"%s %d","remainingItemCount":%d`, state, to, len(s.orders)-to)
	}
	fmt.Fprintf(w, `{"apiVersion":"acmeca.dev/v1alpha1","kind":"AcmeOrderList","metadata":{"resourceVersion":"7"%s},"items":[%s]}`,
		left, strings.Join(s.orders[from:to], ","))
}

func liveReader(t *testing.T, server http.Handler, decode bool) client.Reader {
	t.Helper()
	serving := httptest.NewServer(server)
	t.Cleanup(serving.Close)
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	config := &rest.Config{Host: serving.URL}
	if decode {
		config.Wrap(DecodeAnswers)
	}
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(v1alpha1.GroupVersion.WithKind("AcmeOrder"), meta.RESTScopeNamespace)
	reader, err := client.New(config, client.Options{Scheme: scheme, Mapper: mapper})
	if err != nil {
		t.Fatal(err)
	}
	return reader
}

func TestAWalkMeetsEachOrder(t *testing.T) {
	server := &walked{}
	for i := range 7 {
		time := ""
		if i == 2 || i == 5 {
			time = unreadableTime
		}
		server.orders = append(server.orders, storedOrder("a", fmt.Sprintf("o%d", i), i+1, time))
	}
	var got, left []string
	err := WalkOrders(t.Context(), liveReader(t, server, true), nil, nil, func(page []StoredOrder, remaining int64) error {
		for _, order := range page {
			got = append(got, fmt.Sprintf("%s/%s of %s, damaged %v", order.Namespace, order.Name, order.Spec.IssuerRef.Name, order.Damaged))
			if number := order.Name[1] - '0'; order.Bytes != len(server.orders[number]) {
				t.Errorf("%s has %d bytes, want %d", order.Name, order.Bytes, len(server.orders[number]))
			}
		}
		left = append(left, fmt.Sprint(remaining))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 7 {
		want = append(want, fmt.Sprintf("a/o%d of default, damaged %v", i, i == 2 || i == 5))
	}
	if !slices.Equal(got, want) {
		t.Errorf("met %q", got)
	}
	if !slices.Equal(left, []string{"5", "3", "1", "0"}) {
		t.Errorf("remaining: %q", left)
	}
	if slices.ContainsFunc(server.limits, func(limit string) bool { return limit != "500" }) {
		t.Errorf("limits: %q", server.limits)
	}
}

func TestAWalkWithoutOurDecoderKnowsNoSizes(t *testing.T) {
	server := &walked{orders: []string{storedOrder("a", "o0", 1, ""), storedOrder("a", "o1", 2, "")}}
	err := WalkOrders(t.Context(), liveReader(t, server, false), []string{"a"}, nil, func(page []StoredOrder, _ int64) error {
		if len(page) != 2 || page[1].Name != "o1" || page[1].Bytes != 0 || page[1].Damaged {
			t.Errorf("%+v", page)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAWalkEndsWithItsVisitor(t *testing.T) {
	server := &walked{orders: []string{storedOrder("a", "o0", 1, ""), storedOrder("a", "o1", 2, ""), storedOrder("a", "o2", 3, "")}}
	stop := fmt.Errorf("enough")
	if err := WalkOrders(t.Context(), liveReader(t, server, true), nil, nil, func([]StoredOrder, int64) error { return stop }); err != stop { //nolint:errorlint // not wrapped
		t.Error(err)
	}
	if len(server.limits) != 1 {
		t.Errorf("%d pages were read", len(server.limits))
	}
}
