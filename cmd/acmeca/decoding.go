package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
)

// client-go parses each object twice, the first time only for its kind, and with a decoder that is half as fast as
// encoding/json/v2. That was a third of the work of a start with many orders, and a tenth of that of an issuance. So what a
// cache asks for is decoded where it comes in, once, and client-go is handed an answer that ends at once.

// decoder takes over the body of an answer that is JSON. It is a value of the request's context.
type decoder interface{ decode(*http.Response) }

type decoderKey struct{}

// decodeAnswers is a rest.Config's wrapper.
func decodeAnswers(inner http.RoundTripper) http.RoundTripper { return &answerDecoder{inner} }

type answerDecoder struct{ inner http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (d *answerDecoder) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := d.inner.RoundTrip(request)
	into, ok := request.Context().Value(decoderKey{}).(decoder)
	if err != nil || !ok || response.StatusCode != http.StatusOK {
		return response, err
	}
	if format, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")); format != runtime.ContentTypeJSON {
		return response, nil
	}
	into.decode(response)
	return response, nil
}

// WrappedRoundTripper implements net.RoundTripperWrapper, by which client-go finds the transport within.
func (d *answerDecoder) WrappedRoundTripper() http.RoundTripper { return d.inner }

// listOf makes a list of a kind that is decoded here: ours that there are many of. Of others it makes none.
func listOf(kind runtime.Object) client.ObjectList {
	switch kind.(type) {
	case *v1alpha1.AcmeOrder:
		return &v1alpha1.AcmeOrderList{}
	case *v1alpha1.AcmeAuthorization:
		return &v1alpha1.AcmeAuthorizationList{}
	case *v1alpha1.AcmeAccount:
		return &v1alpha1.AcmeAccountList{}
	}
	return nil
}

// page decodes a page of a list.
type page struct {
	list client.ObjectList
	done bool
	err  error
}

// readPage asks for a page, and gives it as it was decoded, here or by client-go.
func readPage(ctx context.Context, kind runtime.Object, list func(context.Context) (runtime.Object, error)) (runtime.Object, error) {
	p := &page{list: listOf(kind)}
	if p.list == nil {
		return list(ctx)
	}
	answer, err := list(context.WithValue(ctx, decoderKey{}, p))
	if p.done { // client-go complains that there is nothing to read
		return p.list, p.err
	}
	return answer, err
}

func (p *page) decode(response *http.Response) {
	p.done = true
	err := json.UnmarshalRead(response.Body, p.list)
	if err == nil {
		err = checkKind(p.list, reflect.TypeOf(p.list).Elem())
	}
	if err != nil {
		p.err = fmt.Errorf("decoding a list of the API server's: %w", err)
	}
	_ = response.Body.Close() // nothing is written to it
	response.Body = http.NoBody
}

// checkKind refuses what is something else than what was asked for: of a Status, say, no member would be missed in an empty list.
func checkKind(object runtime.Object, kind reflect.Type) error {
	want := v1alpha1.GroupVersion.WithKind(kind.Name())
	if got := object.GetObjectKind().GroupVersionKind(); got != want {
		return fmt.Errorf("it is %q, not %q", got, want)
	}
	return nil
}

// events decodes what a watch is sent, as long as it is.
type events struct {
	kind  reflect.Type
	watch watch.Interface // nil where client-go decodes
}

// readEvents starts a watch, and gives it as it is decoded, here or by client-go.
func readEvents(ctx context.Context, kind runtime.Object, start func(context.Context) (watch.Interface, error)) (watch.Interface, error) {
	if listOf(kind) == nil {
		return start(ctx)
	}
	e := &events{kind: reflect.TypeOf(kind).Elem()}
	others, err := start(context.WithValue(ctx, decoderKey{}, e))
	if err == nil && e.watch != nil {
		return e.watch, nil // of the others, client-go has come to the end
	}
	return others, err
}

func (e *events) decode(response *http.Response) {
	reporter := apierrors.NewClientErrorReporter(http.StatusInternalServerError, http.MethodGet, "ClientWatchDecoding")
	e.watch = watch.NewStreamWatcher(&eventDecoder{body: response.Body, text: jsontext.NewDecoder(ending{response.Body}), kind: e.kind}, reporter)
	response.Body = http.NoBody
}

// eventDecoder is a watch.Decoder.
type eventDecoder struct {
	body io.ReadCloser
	text *jsontext.Decoder
	kind reflect.Type
}

// Decode implements watch.Decoder. By io.EOF and io.ErrUnexpectedEOF a StreamWatcher knows that the connection has ended, and its
// user watches again from where it was. Every other error is reported.
func (d *eventDecoder) Decode() (watch.EventType, runtime.Object, error) {
	e := event{of: d.kind}
	err := json.UnmarshalDecode(d.text, &e)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = io.ErrUnexpectedEOF
	case err == nil && e.object == nil:
		err = errors.New("an event without an object")
	case err == nil && e.kind != watch.Error:
		err = checkKind(e.object, d.kind)
	}
	return e.kind, e.object, err
}

// event is one of a watch on a kind (metav1.WatchEvent).
type event struct {
	of     reflect.Type
	kind   watch.EventType
	object runtime.Object
}

// UnmarshalJSONFrom implements json.UnmarshalerFrom. The type says what the object is, and the API server writes it first.
func (e *event) UnmarshalJSONFrom(text *jsontext.Decoder) error {
	start, err := text.ReadToken()
	if err != nil {
		return err
	}
	if start.Kind() != '{' {
		return errors.New("an event that is no JSON object")
	}
	for text.PeekKind() == '"' {
		name, err := text.ReadToken()
		if err != nil {
			return err
		}
		switch name.String() {
		case "type":
			err = json.UnmarshalDecode(text, &e.kind)
		case "object":
			if e.object, err = e.newObject(); err == nil {
				err = json.UnmarshalDecode(text, e.object)
			}
		default:
			err = text.SkipValue()
		}
		if err != nil {
			return err
		}
	}
	_, err = text.ReadToken()
	return err
}

func (e *event) newObject() (runtime.Object, error) {
	switch e.kind {
	case watch.Added, watch.Modified, watch.Deleted, watch.Bookmark:
		return reflect.New(e.of).Interface().(runtime.Object), nil
	case watch.Error:
		return &metav1.Status{}, nil
	}
	return nil, fmt.Errorf("an object of an event of type %q", e.kind)
}

// Close implements watch.Decoder.
func (d *eventDecoder) Close() { _ = d.body.Close() } // nothing is written to it

// ending is a connection whose end is the same however it came to it.
type ending struct{ body io.Reader }

func (e ending) Read(into []byte) (int, error) {
	n, err := e.body.Read(into)
	if err != nil && err != io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
