package informer

import (
	"context"
	"fmt"
	"net/http"
	"reflect"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// page decodes a page of a list. It leaves out the objects that can't be decoded.
type page struct {
	list    client.ObjectList
	skipped []skippedObject
	sizes   *sizeTable // nil to note none
	// note is called for each object, in the order of the page; nil to call nothing.
	note func(object client.Object, bytes int, damaged bool)
	done bool
	err  error
}

// readPage calls list, and returns the page and the objects left out of it. It adds the sizes of all objects to sizes, unless that is
// nil. Pages of other kinds are decoded by client-go.
func readPage(
	ctx context.Context, kind runtime.Object, sizes *sizeTable, list func(context.Context) (runtime.Object, error),
) (runtime.Object, []skippedObject, error) {
	return readInto(ctx, &page{list: listOf(kind), sizes: sizes}, list)
}

func readInto(
	ctx context.Context, p *page, list func(context.Context) (runtime.Object, error),
) (runtime.Object, []skippedObject, error) {
	if p.list == nil {
		answer, err := list(ctx)
		return answer, nil, err
	}
	answer, err := list(context.WithValue(ctx, decoderKey{}, p))
	if p.done { // client-go reports that the body is empty
		return p.list, p.skipped, p.err
	}
	return answer, nil, err
}

func (p *page) decode(response *http.Response) {
	p.done = true
	err := json.UnmarshalRead(response.Body, p, envelope)
	if err == nil {
		err = checkKind(p.list, reflect.TypeOf(p.list).Elem())
	}
	if err != nil {
		p.err = fmt.Errorf("cannot decode the API server's list: %w", err)
	}
	_ = response.Body.Close() // only read
	response.Body = http.NoBody
}

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (p *page) UnmarshalJSONFrom(text *jsontext.Decoder) error {
	list := reflect.ValueOf(p.list).Elem()
	about := list.FieldByName("TypeMeta").Addr().Interface().(*metav1.TypeMeta)
	return eachMember(text, func(name string) error {
		switch name {
		case "kind":
			return json.UnmarshalDecode(text, &about.Kind)
		case "apiVersion":
			return json.UnmarshalDecode(text, &about.APIVersion)
		case "metadata":
			return json.UnmarshalDecode(text, list.FieldByName("ListMeta").Addr().Interface())
		case "items":
			return p.readItems(text, list.FieldByName("Items"))
		}
		return text.SkipValue()
	})
}

func (p *page) readItems(text *jsontext.Decoder, items reflect.Value) error {
	start, err := text.ReadToken()
	if err != nil || start.Kind() == 'n' {
		return err
	}
	if start.Kind() != '[' {
		return fmt.Errorf("items is not an array")
	}
	items.Set(reflect.MakeSlice(items.Type(), 0, 0))
	for text.PeekKind() != ']' {
		value, err := text.ReadValue()
		if err != nil {
			return err
		}
		n := items.Len()
		items.Grow(1)
		items.SetLen(n + 1)
		object := items.Index(n).Addr().Interface().(client.Object)
		reason := json.Unmarshal(value, object)
		if reason != nil {
			items.Index(n).SetZero()
			items.SetLen(n)
			if object, err = salvage(value, items.Type().Elem(), reason); err != nil {
				return err
			}
			p.skipped = append(p.skipped, skippedObject{client.ObjectKeyFromObject(object), reason})
		}
		if p.sizes != nil {
			p.sizes.put(object, len(value))
		}
		if p.note != nil {
			p.note(object, len(value), reason != nil)
		}
	}
	_, err = text.ReadToken()
	return err
}
