package informer

import (
	"context"
	"errors"
	"fmt"
	"io"
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

// events decodes the events of a watch until the watch ends.
type events struct {
	kind    reflect.Type
	skipped *skippedObjects
	sizes   *storedSizes
	members *members        // nil if the cache holds all objects
	list    int             // the number of the list that the watch follows
	version string          // at which the watch starts
	watch   watch.Interface // nil if client-go decodes
}

// read calls start, and returns the watch. Events of other kinds are decoded by client-go.
func (e *events) read(
	ctx context.Context, kind runtime.Object, start func(context.Context) (watch.Interface, error),
) (watch.Interface, error) {
	if listOf(kind) == nil {
		return start(ctx)
	}
	e.kind = reflect.TypeOf(kind).Elem()
	theirs, err := start(context.WithValue(ctx, decoderKey{}, e))
	if err == nil && e.watch != nil {
		return e.watch, nil // client-go's watch ended at once, with its empty body
	}
	return theirs, err
}

func (e *events) decode(response *http.Response) {
	reporter := apierrors.NewClientErrorReporter(http.StatusInternalServerError, http.MethodGet, "ClientWatchDecoding")
	decoder := &eventDecoder{
		body: response.Body, text: jsontext.NewDecoder(connection{response.Body}, envelope), kind: e.kind, version: e.version,
		skipped: e.skipped, sizes: e.sizes, members: e.members, list: e.list,
	}
	e.watch = watch.NewStreamWatcher(decoder, reporter)
	response.Body = http.NoBody
}

// eventDecoder is a watch.Decoder. Its reader keeps a cache. For the cache, an object that can't be decoded does not exist:
// the decoder replaces the events about it, and keeps their resourceVersion.
type eventDecoder struct {
	body io.ReadCloser
	text *jsontext.Decoder
	kind reflect.Type

	skipped *skippedObjects
	sizes   *storedSizes
	members *members
	list    int    // the number of the list that the watch follows
	version string // of the previous event

	// delivering notes in skipped and members the effect of the previous event; nil if there is none.
	delivering func()
}

// Decode implements watch.Decoder. After io.EOF and io.ErrUnexpectedEOF, the connection has ended, and the reader of the StreamWatcher
// starts another watch from the last resourceVersion. Other errors are reported to the reader, which lists again.
func (d *eventDecoder) Decode() (watch.EventType, runtime.Object, error) {
	d.delivered()
	if d.members != nil {
		if name, ok := d.members.next(d.list); ok {
			d.delivering = func() { d.members.remove(d.list, name) }
			return watch.Deleted, eviction(name, d.version), nil
		}
	}
	e := event{of: d.kind}
	err := json.UnmarshalDecode(d.text, &e)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = io.ErrUnexpectedEOF
	case err == nil && e.object == nil:
		err = errors.New("an event without an object")
	case err == nil && e.kind != watch.Error:
		if err = checkKind(e.object, d.kind); err == nil && e.kind != watch.Bookmark {
			d.observed(&e)
			object := e.object.(client.Object)
			d.version = object.GetResourceVersion()
			if d.members != nil && d.members.repeats(object) {
				return watch.Bookmark, d.bookmark(d.version), nil
			}
			d.noteSize(&e)
			kind, replacement := d.replace(e.kind, object, e.reason)
			d.noteMember(kind, replacement)
			return kind, replacement, nil
		}
	}
	return e.kind, e.object, err
}

// noteMember notes the effect of an event on the members of the cache.
func (d *eventDecoder) noteMember(kind watch.EventType, object runtime.Object) {
	order, ok := object.(*v1alpha1.AcmeOrder)
	switch {
	case d.members == nil || !ok || kind == watch.Bookmark:
	case kind != watch.Deleted:
		d.members.add(d.list, order)
	default:
		skip, name := d.delivering, client.ObjectKeyFromObject(order) // once delivered, the order is its receiver's
		d.delivering = func() {
			if skip != nil {
				skip()
			}
			d.members.remove(d.list, name)
		}
	}
}

// noteSize notes the size of an event's object. An event that comes again changes nothing.
func (d *eventDecoder) noteSize(e *event) {
	if e.kind == watch.Deleted {
		e.size = 0
	}
	d.sizes.set(d.list, e.object.(client.Object), e.size)
}

// delivered notes the effect of the previous event. A StreamWatcher decodes the next event only after its reader has the previous one.
// An event that was decoded but not delivered comes again in the next watch, so it must not be noted.
func (d *eventDecoder) delivered() {
	if d.delivering != nil {
		d.delivering()
		d.delivering = nil
	}
}

// replace returns the event for a cache without the objects that can't be decoded. reason is nil if the object can be decoded.
func (d *eventDecoder) replace(kind watch.EventType, object client.Object, reason error) (watch.EventType, runtime.Object) {
	name := client.ObjectKeyFromObject(object)
	absent := d.skipped.has(name)
	if reason == nil && !absent {
		return kind, object
	}
	skip := reason != nil && kind != watch.Deleted
	d.delivering = func() {
		if skip {
			d.skipped.add(d.list, skippedObject{name, reason})
		} else {
			d.skipped.remove(d.list, name)
		}
	}
	switch {
	case reason == nil && kind != watch.Deleted:
		return kind, object // it can be decoded again: a cache adds an object that it does not have
	case absent || kind == watch.Added:
		return watch.Bookmark, d.bookmark(object.GetResourceVersion())
	}
	return watch.Deleted, object
}

func (d *eventDecoder) bookmark(version string) runtime.Object {
	object := reflect.New(d.kind).Interface().(client.Object)
	object.SetResourceVersion(version)
	return object
}

// event is an event of a watch on a kind (metav1.WatchEvent).
type event struct {
	of     reflect.Type
	kind   watch.EventType
	object runtime.Object
	// reason is not nil if the object can't be decoded. Then object has only the members that can.
	reason error
	size   int // of the object in JSON
}

// UnmarshalJSONFrom implements json.UnmarshalerFrom. The API server writes the type, which determines the Go type of the object, first.
func (e *event) UnmarshalJSONFrom(text *jsontext.Decoder) error {
	return eachMember(text, func(name string) error {
		switch name {
		case "type":
			return json.UnmarshalDecode(text, &e.kind)
		case "object":
			return e.readObject(text)
		}
		return text.SkipValue()
	})
}

func (e *event) readObject(text *jsontext.Decoder) (err error) {
	if e.object, err = e.newObject(); err != nil {
		return err
	}
	if e.kind == watch.Error || e.kind == watch.Bookmark {
		return json.UnmarshalDecode(text, e.object)
	}
	value, err := text.ReadValue()
	if err != nil {
		return err
	}
	e.size = len(value)
	if e.reason = json.Unmarshal(value, e.object); e.reason != nil {
		e.object, err = salvage(value, e.of, e.reason)
	}
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
func (d *eventDecoder) Close() { _ = d.body.Close() } // only read

// connection reports every failure to read as io.ErrUnexpectedEOF, whatever ended the connection.
type connection struct{ body io.Reader }

func (c connection) Read(into []byte) (int, error) {
	n, err := c.body.Read(into)
	if err != nil && err != io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
