package informer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/randfill"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// answering is a transport with one answer.
type answering struct {
	status int
	kind   string
	body   io.Reader
	closed chan struct{}
}

func answer(status int, kind, body string) *answering {
	return &answering{status, kind, strings.NewReader(body), make(chan struct{})}
}

// RoundTrip implements http.RoundTripper.
func (a *answering) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: a.status, Header: http.Header{"Content-Type": {a.kind}}, Body: a, ContentLength: -1}, nil
}

func (a *answering) Read(into []byte) (int, error) { return a.body.Read(into) }

func (a *answering) Close() error {
	close(a.closed)
	return nil
}

// ask returns the part of the answer that is left for client-go to read.
func (a *answering) ask(ctx context.Context) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.test/", nil)
	if err != nil {
		return nil, err
	}
	response, err := DecodeAnswers(a).RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return io.ReadAll(response.Body)
}

// A page is decoded in the transport. Every other answer is left to client-go.
func TestPagesAreDecodedOnce(t *testing.T) {
	const orders = `{"apiVersion":"acmeca.dev/v1alpha1","items":[{"apiVersion":"acmeca.dev/v1alpha1","kind":"AcmeOrder","metadata":{"name":"a","creationTimestamp":"2026-11-27T03:09:03Z"},"spec":{"issuerRef":{"name":"default"},"accountRef":{"name":"b"},"identifiers":[{"type":"dns","value":"a.test"}],"authorizations":["a-0"],"finalization":{"request":{"protected":"cA","payload":"e30","signature":"cw"},"time":"2026-11-27T03:09:03Z"}},"status":{"state":"valid","certificate":"PEM","conditions":[{"type":"Ready","status":"True","reason":"Issued","message":"","lastTransitionTime":"2026-11-27T03:09:03Z"}]}}],"kind":"AcmeOrderList","metadata":{"continue":"next","resourceVersion":"7"}}`
	for name, test := range map[string]struct {
		kind   runtime.Object
		server *answering
		// decoded is false if client-go has to decode
		decoded bool
		left    string
	}{
		"orders":         {&v1alpha1.AcmeOrder{}, answer(200, "application/json; charset=utf-8", orders), true, ""},
		"another kind":   {&corev1.ConfigMap{}, answer(200, "application/json", "{}"), false, "{}"},
		"another format": {&v1alpha1.AcmeOrder{}, answer(200, "application/cbor", orders), false, orders},
		"no format":      {&v1alpha1.AcmeOrder{}, answer(200, "", orders), false, orders},
		"a refusal":      {&v1alpha1.AcmeOrder{}, answer(410, "application/json", `{"kind":"Status"}`), false, `{"kind":"Status"}`},
	} {
		t.Run(name, func(t *testing.T) {
			var left []byte
			list, _, err := readPage(t.Context(), test.kind, nil, func(ctx context.Context) (runtime.Object, error) {
				var err error
				if left, err = test.server.ask(ctx); test.decoded {
					err = errors.New("there is nothing to read")
				}
				return &v1alpha1.AcmeOrderList{}, err
			})
			if err != nil {
				t.Fatal(err)
			}
			if string(left) != test.left {
				t.Errorf("left is %s, want %s", left, test.left)
			}
			want := &v1alpha1.AcmeOrderList{}
			if test.decoded {
				if err := json.Unmarshal([]byte(orders), want); err != nil || len(want.Items) != 1 {
					t.Fatal(err)
				}
			}
			if !equality.Semantic.DeepEqual(list, want) {
				t.Errorf("%+v, want %+v", list, want)
			}
			<-test.server.closed
		})
	}
}

func TestBrokenPages(t *testing.T) {
	const list = `{"apiVersion":"acmeca.dev/v1alpha1","kind":"AcmeOrderList","metadata":{"resourceVersion":"7"},"items":[]}`
	for _, body := range []string{"", `{"items":[{"metadata":{"name":"a"}}`, `{"items":7}`, list + list, `{}`, "null",
		`{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure"}`, strings.Replace(list, "v1alpha1", "v1alpha2", 1)} {
		server := answer(200, "application/json", body)
		list, _, err := readPage(t.Context(), &v1alpha1.AcmeOrder{}, nil, func(ctx context.Context) (runtime.Object, error) {
			_, err := server.ask(ctx)
			return nil, err
		})
		if err == nil {
			t.Errorf("%q is decoded as %+v", body, list)
		}
		<-server.closed
	}
}

func TestOtherAnswersAreLeft(t *testing.T) {
	if text, err := answer(200, "application/json", "{}").ask(t.Context()); err != nil || string(text) != "{}" {
		t.Errorf("%s, %v", text, err)
	}
}

// watching returns a watch of accounts.
func watching(t *testing.T, server *answering) watch.Interface {
	t.Helper()
	w, err := (&events{skipped: newTestSkipped("AcmeAccount"), sizes: newStoredSizes("AcmeAccount", nil)}).read(t.Context(), &v1alpha1.AcmeAccount{}, func(ctx context.Context) (watch.Interface, error) {
		left, err := server.ask(ctx)
		if len(left) > 0 {
			t.Errorf("client-go is left %s", left)
		}
		return watch.NewEmptyWatch(), err
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

const added = `{"type":"ADDED","object":{"apiVersion":"acmeca.dev/v1alpha1","kind":"AcmeAccount","metadata":{"name":"a","resourceVersion":"7"}}}` + "\n"

// The events of a watch are decoded one by one, until the connection ends. A text that is not an event is reported as an error.
func TestEvents(t *testing.T) {
	for name, test := range map[string]struct {
		then   io.Reader
		broken string // the reason of the error event at the end; empty if there is none
	}{
		"an end":                {strings.NewReader(""), ""},
		"an end within":         {strings.NewReader(added[:40]), ""},
		"a lost connection":     {iotest.ErrReader(errors.New("http2: client connection lost")), ""},
		"lost within":           {io.MultiReader(strings.NewReader(added[:40]), iotest.ErrReader(context.Canceled)), ""},
		"too old":               {strings.NewReader(`{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","reason":"Expired","code":410}}`), "Expired"},
		"invalid JSON":          {strings.NewReader("<html>"), "InternalError"},
		"not an event":          {strings.NewReader(`[]`), "InternalError"},
		"an invalid object":     {strings.NewReader(`{"type":"ADDED","object":{"metadata":7}}`), "InternalError"},
		"nothing":               {strings.NewReader(`{"type":"ADDED"}`), "InternalError"},
		"a type of another age": {strings.NewReader(strings.Replace(added, "ADDED", "RENAMED", 1)), "InternalError"},
		"no type":               {strings.NewReader(`{"object":{}}`), "InternalError"},
		"another kind":          {strings.NewReader(strings.Replace(added, "AcmeAccount", "AcmeOrder", 1)), "InternalError"},
		"more members":          {strings.NewReader(`{"type":"ERROR","more":[7],"object":{"kind":"Status","apiVersion":"v1","reason":"Expired","code":410}}`), "Expired"},
	} {
		t.Run(name, func(t *testing.T) {
			const bookmark = `{"type":"BOOKMARK","object":{"kind":"AcmeAccount","apiVersion":"acmeca.dev/v1alpha1","metadata":{"resourceVersion":"8","creationTimestamp":null},"spec":{}}}` + "\n"
			server := answer(200, "application/json", "")
			server.body = io.MultiReader(iotest.OneByteReader(strings.NewReader(added+bookmark)), test.then)
			w := watching(t, server)
			for _, want := range []struct {
				kind    watch.EventType
				name    string
				version string
			}{{watch.Added, "a", "7"}, {watch.Bookmark, "", "8"}} {
				event := <-w.ResultChan()
				if account, ok := event.Object.(*v1alpha1.AcmeAccount); !ok || event.Type != want.kind || account.Name != want.name || account.ResourceVersion != want.version {
					t.Errorf("%+v, want %+v", event, want)
				}
			}
			event, more := <-w.ResultChan()
			if reason := apierrors.ReasonForError(apierrors.FromObject(event.Object)); more != (test.broken != "") || more && (event.Type != watch.Error || reason != metav1.StatusReason(test.broken)) {
				t.Errorf("at last %+v, %q", event, reason)
			}
			if event, more := <-w.ResultChan(); more {
				t.Errorf("after it %+v", event)
			}
			<-server.closed
		})
	}
}

func TestStoppedWatchesEnd(t *testing.T) {
	server := answer(200, "application/json", "")
	reader, writer := io.Pipe()
	defer writer.Close()
	server.body = reader
	w := watching(t, server)
	w.Stop()
	<-server.closed
}

func TestOtherKindsAreLeftToClientGo(t *testing.T) {
	theirs := watch.NewEmptyWatch()
	w, err := (&events{skipped: newTestSkipped("ConfigMap"), sizes: newStoredSizes("ConfigMap", nil)}).read(t.Context(), &corev1.ConfigMap{}, func(ctx context.Context) (watch.Interface, error) {
		left, err := answer(200, "application/json", added).ask(ctx)
		if string(left) != added {
			t.Errorf("client-go is left %q", left)
		}
		return theirs, err
	})
	if err != nil || w != theirs {
		t.Errorf("%v, %v", w, err)
	}
}

// Objects with all kinds of members are decoded as client-go decodes them.
func TestDecodersAgree(t *testing.T) {
	fill := randfill.NewWithSeed(1).NilChance(0.2).NumElements(0, 3).Funcs(
		func(at *metav1.Time, c randfill.Continue) { *at = metav1.Unix(c.Int63n(1<<33), 0) },
		func(fields *metav1.FieldsV1, _ randfill.Continue) { fields.Raw = []byte(`{"f:spec":{}}`) },
	)
	for _, kind := range []runtime.Object{&v1alpha1.AcmeOrder{}, &v1alpha1.AcmeAuthorization{}, &v1alpha1.AcmeAccount{}, &v1alpha1.AcmeIssuer{}} {
		for range 100 {
			list := listOf(kind)
			fill.Fill(list)
			list.GetObjectKind().SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(reflect.TypeOf(list).Elem().Name()))
			text, err := json.Marshal(list)
			if err != nil {
				t.Fatal(err)
			}
			theirs, ours := listOf(kind), listOf(kind)
			if err := utiljson.Unmarshal(text, theirs); err != nil {
				t.Fatal(err)
			}
			response := &http.Response{Body: io.NopCloser(bytes.NewReader(text))}
			p := &page{list: ours}
			if p.decode(response); p.err != nil || len(p.skipped) > 0 {
				t.Fatal(p.err, p.skipped)
			}
			if diff := cmp.Diff(theirs, ours); diff != "" {
				t.Fatalf("%s\nis decoded differently: %s", text, diff)
			}
		}
	}
}
