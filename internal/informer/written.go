package informer

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"reflect"

	"github.com/go-json-experiment/json"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// written decodes the answer to a write. client-go decodes an answer that can't be decoded here.
type written struct {
	kind   reflect.Type
	object client.Object // nil if the answer was not decoded
}

// decodeWritten calls a write of an object, and decodes its answer into the object. Answers of other kinds are decoded by client-go.
func decodeWritten(ctx context.Context, object client.Object, write func(context.Context) error) error {
	if listOf(object) == nil {
		return write(ctx)
	}
	w := &written{kind: reflect.TypeOf(object).Elem()}
	err := write(context.WithValue(ctx, decoderKey{}, w))
	if err == nil && w.object != nil {
		w.object.GetObjectKind().SetGroupVersionKind(object.GetObjectKind().GroupVersionKind()) // as client-go leaves it
		reflect.ValueOf(object).Elem().Set(reflect.ValueOf(w.object).Elem())
	}
	return err
}

// nothing is what client-go gets for an answer that is decoded here: an object without members.
var nothing = []byte("{}")

func (w *written) decode(response *http.Response) {
	w.object = nil // of an earlier try
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close() // only read
	if err != nil {
		response.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), failing{err}))
		return
	}
	object := reflect.New(w.kind).Interface().(client.Object)
	if json.Unmarshal(body, object) == nil && checkKind(object, w.kind) == nil {
		w.object, body = object, nothing
	}
	response.Body, response.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
}

// failing is a body that can't be read.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
