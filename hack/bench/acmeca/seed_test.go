package acmeca

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// A copy keeps the fields of another build, and gets no field that the build lacks.
func TestSeededOrder(t *testing.T) {
	like := &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"name": "a", "namespace": "n", "uid": "u", "resourceVersion": "7"},
		"spec":     map[string]any{"csr": "kept", "accountRef": map[string]any{"name": "b"}, "identifiers": []any{map[string]any{"type": "dns", "value": "a.test"}}},
		"status":   map[string]any{"serial": "01", "state": "valid"},
	}}
	first, second := seededOrder(like, 0, time.Unix(1, 0)), seededOrder(like, 1, time.Unix(1, 0))
	get := func(o *unstructured.Unstructured, path ...string) any {
		value, _, _ := unstructured.NestedFieldNoCopy(o.Object, path...)
		return value
	}
	for _, path := range [][]string{{"metadata", "name"}, {"metadata", "uid"}, {"status", "serial"}, {"spec", "replaces"}} {
		if get(first, path...) == get(second, path...) || get(first, path...) == get(like, path...) {
			t.Errorf("%v: %v and %v", path, get(first, path...), get(second, path...))
		}
	}
	if get(first, "spec", "accountRef", "name") != get(second, "spec", "accountRef", "name") {
		t.Error("orders next to each other belong to different accounts")
	}
	if get(first, "spec", "csr") != "kept" || get(first, "status", "certificateID") != nil || get(first, "spec", "authorizations") != nil ||
		get(first, "metadata", "resourceVersion") != nil {
		t.Errorf("%v", first.Object)
	}
}
