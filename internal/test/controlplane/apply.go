package controlplane

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// fieldOwner is the field manager of server-side apply.
const fieldOwner = client.FieldOwner("acmeca-local")

// ReadManifests reads the objects in YAML files. A directory stands for the .yaml files below it. Files for kustomize
// alone and paths that do not exist are skipped.
func ReadManifests(paths ...string) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	for _, path := range paths {
		err := filepath.WalkDir(path, func(file string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) && file == path {
				return nil
			}
			if err != nil || entry.IsDir() || filepath.Ext(file) != ".yaml" {
				return err
			}
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			more, err := ParseManifests(text)
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			objects = append(objects, more...)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return objects, nil
}

// ParseManifests parses the objects in a YAML text of one or more documents.
func ParseManifests(text []byte) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		json, err := yaml.YAMLToJSON(document)
		if err != nil {
			return nil, err
		}
		if string(json) == "null" { // only comments
			continue
		}
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(json); err != nil {
			return nil, err
		}
		if object.GroupVersionKind().Group != "kustomize.config.k8s.io" {
			objects = append(objects, object)
		}
	}
}

// Apply applies objects by server-side apply: CustomResourceDefinitions and Namespaces first, the rest once the
// definitions are served. Unknown fields are an error.
func (p *Plane) Apply(ctx context.Context, objects ...*unstructured.Unstructured) error {
	definitions, others := split(objects)
	if len(definitions) > 0 {
		if err := p.applyAll(ctx, definitions); err != nil {
			return err
		}
		if err := p.waitEstablished(ctx, definitions); err != nil {
			return err
		}
	}
	return p.applyAll(ctx, others)
}

func split(objects []*unstructured.Unstructured) (definitions, others []*unstructured.Unstructured) {
	for _, object := range objects {
		if object.GroupVersionKind().GroupKind() == definitionKind.GroupKind() {
			definitions = append(definitions, object)
		} else {
			others = append(others, object)
		}
	}
	slices.SortStableFunc(others, func(a, b *unstructured.Unstructured) int { return rank(a) - rank(b) })
	return definitions, others
}

// rank sorts kinds first that other objects depend on.
func rank(object *unstructured.Unstructured) int {
	if object.GetKind() == "Namespace" {
		return 0
	}
	return 1
}

func (p *Plane) applyAll(ctx context.Context, objects []*unstructured.Unstructured) error {
	c, err := client.New(p.Config(), client.Options{FieldValidation: "Strict"})
	if err != nil {
		return err
	}
	for _, object := range objects {
		err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(object.DeepCopy()), fieldOwner, client.ForceOwnership)
		if err != nil {
			return fmt.Errorf("applying %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	return nil
}

var definitionKind = schema.GroupVersionKind{
	Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition",
}

// waitEstablished waits until the API server serves the defined kinds.
func (p *Plane) waitEstablished(ctx context.Context, definitions []*unstructured.Unstructured) error {
	c, err := client.New(p.Config(), client.Options{})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("not established after %s", startTimeout))
	defer cancel()
	for _, definition := range definitions {
		for !p.established(ctx, c, definition.GetName()) {
			select {
			case <-ctx.Done():
				return fmt.Errorf("CustomResourceDefinition %s: %w", definition.GetName(), context.Cause(ctx))
			case <-time.After(pollEvery):
			}
		}
	}
	return nil
}

func (p *Plane) established(ctx context.Context, c client.Client, name string) bool {
	definition := &unstructured.Unstructured{}
	definition.SetGroupVersionKind(definitionKind)
	if err := c.Get(ctx, client.ObjectKey{Name: name}, definition); err != nil {
		return false
	}
	conditions, _, _ := unstructured.NestedSlice(definition.Object, "status", "conditions")
	for _, condition := range conditions {
		fields, ok := condition.(map[string]any)
		if ok && fields["type"] == "Established" && fields["status"] == "True" {
			return p.served(c, definition)
		}
	}
	return false
}

// served reports whether discovery lists the kind. Discovery lags a little behind the condition.
func (p *Plane) served(c client.Client, definition *unstructured.Unstructured) bool {
	group, _, _ := unstructured.NestedString(definition.Object, "spec", "group")
	kind, _, _ := unstructured.NestedString(definition.Object, "spec", "names", "kind")
	_, err := c.RESTMapper().RESTMapping(schema.GroupKind{Group: group, Kind: kind})
	return !meta.IsNoMatchError(err) && err == nil
}
