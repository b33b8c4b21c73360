package informer

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// writes are all ways to write an order.
var writes = map[string]func(context.Context, client.Client, *v1alpha1.AcmeOrder) error{
	"create": func(ctx context.Context, c client.Client, o *v1alpha1.AcmeOrder) error { return c.Create(ctx, o) },
	"update": func(ctx context.Context, c client.Client, o *v1alpha1.AcmeOrder) error { return c.Update(ctx, o) },
	"patch": func(ctx context.Context, c client.Client, o *v1alpha1.AcmeOrder) error {
		return c.Patch(ctx, o, client.RawPatch(types.MergePatchType, []byte("{}")))
	},
	"status": func(ctx context.Context, c client.Client, o *v1alpha1.AcmeOrder) error {
		return c.Status().Update(ctx, o)
	},
	"patched status": func(ctx context.Context, c client.Client, o *v1alpha1.AcmeOrder) error {
		return c.Status().Patch(ctx, o, client.RawPatch(types.MergePatchType, []byte("{}")))
	},
}

// transport counts the answers that are left for client-go to decode.
type transport struct {
	inner http.RoundTripper
	left  int
}

func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := t.inner.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(response.Body)
	if string(body) != "{}" {
		t.left++
	}
	response.Body = io.NopCloser(strings.NewReader(string(body)))
	return response, err
}

// writer returns a client whose API server gives one answer to each write, with 201 to a creation.
func writer(t *testing.T, answer string, decode func(http.RoundTripper) http.RoundTripper) (client.Client, *transport) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusCreated)
		}
		_, _ = io.WriteString(w, answer) // a client that is gone needs no answer
	}))
	t.Cleanup(server.Close)
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	through := &transport{inner: decode(http.DefaultTransport)}
	c, err := New(Options{}).NewClient(&rest.Config{Host: server.URL}, client.Options{
		Scheme: scheme, HTTPClient: &http.Client{Transport: through}, Mapper: orderMapper(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c, through
}

func TestAnswersToWritesAreDecodedOnce(t *testing.T) {
	order := storedOrder("a", "one", 7, "")
	for name, answer := range map[string]string{
		"an order":               order,
		"an undecodable time":    strings.Replace(order, `"metadata":{`, `"metadata":{"creationTimestamp":"yesterday",`, 1),
		"another kind":           strings.Replace(order, `"AcmeOrder"`, `"AcmeAccount"`, 1),
		"a member twice":         strings.Replace(order, `"metadata":{`, `"metadata":{"name":"b",`, 1),
		"not JSON":               order[1:],
		"nothing":                "",
		"an object of no fields": `{"apiVersion":"acmeca.dev/v1alpha1","kind":"AcmeOrder"}`,
	} {
		ours, through := writer(t, answer, DecodeAnswers)
		theirs, _ := writer(t, answer, func(inner http.RoundTripper) http.RoundTripper { return inner })
		for way, write := range writes {
			got, want := orderOf(t, "5"), orderOf(t, "5")
			through.left = 0
			err, wantErr := write(t.Context(), ours, got), write(t.Context(), theirs, want)
			if (err == nil) != (wantErr == nil) || err == nil && !reflect.DeepEqual(got, want) {
				t.Errorf("%s, %s: %+v, %v; client-go has %+v, %v", name, way, got, err, want, wantErr)
			}
			if name == "an order" && through.left > 0 {
				t.Errorf("%s: client-go decodes the answer", way)
			}
		}
	}
}
