package packaging

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// Root returns the root of the source tree that has the working directory.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "PROJECT")); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("not in acmeca's source tree")
}

// Objects are the objects of an installation.
type Objects []*unstructured.Unstructured

// Kustomize renders a kustomization.
func Kustomize(dir string) (Objects, error) {
	rendered, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		return nil, err
	}
	text, err := rendered.AsYaml()
	if err != nil {
		return nil, err
	}
	return parse(string(text))
}

// parse reads YAML documents.
func parse(text string) (Objects, error) {
	var objects Objects
	for document := range strings.SplitSeq("\n"+text, "\n---") {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &object.Object); err != nil {
			return nil, fmt.Errorf("%w in:\n%s", err, document)
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
	return objects, nil
}

// One returns the object of a kind and a name.
func (o Objects) One(kind, name string) (*unstructured.Unstructured, error) {
	for _, object := range o {
		if object.GetKind() == kind && object.GetName() == name {
			return object, nil
		}
	}
	return nil, fmt.Errorf("there is no %s %s", kind, name)
}

// Kinds returns the objects of some kinds.
func (o Objects) Kinds(kinds ...string) Objects {
	var found Objects
	for _, object := range o {
		for _, kind := range kinds {
			if object.GetKind() == kind {
				found = append(found, object)
			}
		}
	}
	return found
}

// file is a generated file.
type file struct {
	path string
	text []byte
}

// replace writes the files, and removes all other files of the generated directory.
func replace(dir string, files []file) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	for _, f := range files {
		path := filepath.Join(dir, f.path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, f.text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func yamlFile(path string, object any) (file, error) {
	text, err := yaml.Marshal(object)
	return file{path, text}, err
}
