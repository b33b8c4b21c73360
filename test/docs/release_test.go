package docs

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/acmeca/acmeca/internal/test/binaries"
)

// TestManifestsOfARelease renders the manifests of docs/release.md for the chart's version, and for another version.
func TestManifestsOfARelease(t *testing.T) {
	assets, err := binaries.Find("kubectl")
	if err != nil {
		t.Fatal(err)
	}
	chart, err := os.ReadFile(filepath.Join(root(t), "charts", "acmeca", "Chart.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	version := "v" + regexp.MustCompile(`(?m)^version: (.*)$`).FindStringSubmatch(string(chart))[1]
	dist := t.TempDir()
	release := func(version string) (string, error) {
		cmd := exec.CommandContext(t.Context(), filepath.Join(root(t), "hack", "release-manifests.sh"), version)
		cmd.Env = append(os.Environ(), "DIST="+dist, "PATH="+assets+":"+os.Getenv("PATH"))
		output, err := cmd.CombinedOutput()
		return string(output), err
	}
	if said, err := release("v9.9.9"); err == nil || !strings.Contains(said, `charts/acmeca/Chart.yaml lacks the line "version: 9.9.9"`) {
		t.Errorf("%v\n%s", err, said)
	}
	if said, err := release(version); err != nil || !strings.Contains(said, "acmeca-"+version+".yaml") {
		t.Fatalf("%v\n%s", err, said)
	}

	count := map[string]int{}
	for _, object := range objectsIn(t, filepath.Join(dist, "acmeca-"+version+".yaml")) {
		count[object.GetKind()]++
		if object.GetKind() != "Deployment" {
			continue
		}
		containers, _, err := unstructured.NestedSlice(object.Object, "spec", "template", "spec", "containers")
		if err != nil || len(containers) == 0 {
			t.Fatal(object.GetName(), err)
		}
		for _, container := range containers {
			if image := container.(map[string]any)["image"]; image != "ghcr.io/acmeca/acmeca:"+strings.TrimPrefix(version, "v") {
				t.Errorf("%s runs %s", object.GetName(), image)
			}
		}
	}
	kinds := objectsIn(t, filepath.Join(dist, "acmeca-crds-"+version+".yaml"))
	if count["Deployment"] != 2 || count["Namespace"] != 1 || count["CustomResourceDefinition"] != 4 || len(kinds) != 4 {
		t.Errorf("%v, and %d kinds", count, len(kinds))
	}
}

func objectsIn(t *testing.T, file string) []unstructured.Unstructured {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var objects []unstructured.Unstructured
	for documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text))); ; {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatal(err)
		}
		var object unstructured.Unstructured
		if err := yaml.UnmarshalStrict(document, &object.Object); err != nil || object.GetKind() == "" || object.GetName() == "" {
			t.Fatalf("%v in\n%s", err, document)
		}
		objects = append(objects, object)
	}
}
