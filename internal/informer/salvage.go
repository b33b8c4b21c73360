package informer

import (
	stdjson "encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// maxFaults is the number of members that salvage drops before it gives up on all but the metadata.
const maxFaults = 8

// salvage decodes an object that can't be decoded as a whole, and leaves out the members at fault. reason is the error of decoding the
// whole object. It fails if not even the metadata can be decoded, which the API server checks itself.
func salvage(value jsontext.Value, kind reflect.Type, reason error) (client.Object, error) {
	about := metav1.PartialObjectMetadata{}
	if err := json.Unmarshal(value, &about, envelope); err != nil {
		return nil, err
	}
	if about.Name == "" {
		return nil, fmt.Errorf("an object without a name: %w", reason)
	}
	rest := value.Clone()
	for range maxFaults {
		fault, ok := errors.AsType[*json.SemanticError](reason)
		if !ok || !withoutMember(&rest, fault.JSONPointer) {
			break
		}
		object := reflect.New(kind).Interface().(client.Object)
		if reason = json.Unmarshal(rest, object); reason == nil {
			return object, nil
		}
	}
	object := reflect.New(kind)
	object.Elem().FieldByName("TypeMeta").Set(reflect.ValueOf(about.TypeMeta))
	object.Elem().FieldByName("ObjectMeta").Set(reflect.ValueOf(about.ObjectMeta))
	return object.Interface().(client.Object), nil
}

// withoutMember removes a member from a JSON object. It removes the innermost member of an object on the path: an array loses no element
// but is removed as a whole. It reports false for the top-level members, which no object can lack, and if there is no such member.
func withoutMember(value *jsontext.Value, at jsontext.Pointer) bool {
	var whole map[string]any
	if stdjson.Unmarshal(*value, &whole) != nil {
		return false
	}
	parent, member, depth := whole, "", 0
	for name := range at.Tokens() {
		if depth > 0 {
			next, ok := parent[member].(map[string]any)
			if !ok {
				break
			}
			parent = next
		}
		member = name
		depth++
	}
	if _, ok := parent[member]; !ok || depth < 2 {
		return false
	}
	delete(parent, member)
	text, err := stdjson.Marshal(whole)
	*value = text
	return err == nil
}
