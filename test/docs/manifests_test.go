package docs

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

func TestManifestsAreOnes(t *testing.T) {
	checked := 0
	for _, d := range documents(t) {
		for _, b := range d.blocks {
			if b.language == "yaml" {
				checked += checkManifests(t, d.path, b.text)
			}
		}
	}
	for _, pattern := range []string{"docs/guides/*/*.yaml", "config/samples/*.yaml", "config/samples/*/*.yaml", "internal/test/local/*.yaml"} {
		files, err := filepath.Glob(filepath.Join(root(t), pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			checked += checkManifests(t, file, string(text))
		}
	}
	if checked < 10 {
		t.Errorf("found only %d manifests", checked)
	}
}

// checkManifests strictly decodes the objects of acmeca's kinds in a text, and returns their number. A text that is
// not YAML, such as one with "...", is no manifest.
func checkManifests(t *testing.T, where, text string) int {
	t.Helper()
	checked := 0
	for documents := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text))); ; {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return checked
		}
		if err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		var object struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
		}
		if err := yaml.Unmarshal(document, &object); err != nil || !strings.HasPrefix(object.APIVersion, "acmeca.dev/") {
			continue
		}
		checked++
		if err := read(object.APIVersion, object.Kind, document); err != nil {
			t.Errorf("%s: %v in:\n%s", where, err, document)
		}
	}
}

// read decodes an object strictly: unknown and repeated fields are errors.
func read(apiVersion, kind string, document []byte) error {
	if apiVersion != v1alpha1.GroupVersion.String() {
		return errors.New("unknown version " + apiVersion)
	}
	var into any
	switch kind {
	case "AcmeIssuer":
		into = &v1alpha1.AcmeIssuer{}
	case "AcmeAccount":
		into = &v1alpha1.AcmeAccount{}
	case "AcmeOrder":
		into = &v1alpha1.AcmeOrder{}
	case "AcmeAuthorization":
		into = &v1alpha1.AcmeAuthorization{}
	default:
		return errors.New("unknown kind " + kind)
	}
	return yaml.UnmarshalStrict(document, into)
}

func TestAManifestWithAFieldThatThereIsNotIsFound(t *testing.T) {
	for text, good := range map[string]bool{
		"apiVersion: acmeca.dev/v1alpha1\nkind: AcmeIssuer\nspec: {ca: {selfSigned: {}}}":      true,
		"apiVersion: acmeca.dev/v1alpha1\nkind: AcmeIssuer\nspec: {ca: {selfSinged: {}}}":      false,
		"apiVersion: acmeca.dev/v1beta1\nkind: AcmeIssuer\nspec: {ca: {selfSigned: {}}}":       false,
		"apiVersion: acmeca.dev/v1alpha1\nkind: AcmeCertificate\nspec: {ca: {selfSigned: {}}}": false,
	} {
		var head struct{ APIVersion, Kind string }
		if err := yaml.Unmarshal([]byte(text), &head); err != nil {
			t.Fatal(err)
		}
		if err := read(head.APIVersion, head.Kind, []byte(text)); (err == nil) != good {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestTroubleshootingHasEveryErrorType(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root(t), "docs", "troubleshooting.md"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, " | ")
		if name := strings.TrimPrefix(cells[0], "| "); len(cells) == 3 && !strings.ContainsAny(name, " -`") && name != "error" && !acme.ProblemType(name).Registered() {
			t.Errorf("%s is no error type", name)
		}
	}
	for _, kind := range acme.ProblemTypes() {
		if !strings.Contains(string(text), "\n| "+string(kind)+" | ") {
			t.Errorf("error type %s is not described", kind)
		}
	}
}
