package main

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"net/http/httptest"
)

func describe(t *testing.T, arches ...string) description {
	t.Helper()
	dir := t.TempDir()
	for _, arch := range []string{"amd64", "arm64"} {
		if err := os.WriteFile(filepath.Join(dir, "program-"+arch), []byte("program for "+arch), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return description{
		name: "registry.test/program:v1", user: "65532:65532", arches: arches, labels: map[string]string{"b": "2", "a": "1"}, args: []string{"run"},
		files: []file{{filepath.Join(dir, "program-{arch}"), "program"}, {filepath.Join(dir, "program-amd64"), "opt/bin/other"}},
	}
}

// unpack extracts an archive of a layout.
func unpack(t *testing.T, archive string) layout.Path {
	t.Helper()
	dir := t.TempDir()
	in, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	for reader := tar.NewReader(in); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return layout.Path(dir)
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		target := filepath.Join(dir, header.Name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(target), 0o755), os.WriteFile(target, content, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEqualProgramsMakeEqualArchives(t *testing.T) {
	var archives [2][]byte
	for i := range archives {
		built, err := describe(t, "amd64", "arm64").build()
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "image.tar")
		if err := built.writeArchive(file, "registry.test/program:v1"); err != nil {
			t.Fatal(err)
		}
		if archives[i], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(archives[0], archives[1]) {
		t.Error("two builds differ")
	}
}

func TestArchiveHasAnImageForEachArchitecture(t *testing.T) {
	built, err := describe(t, "amd64", "arm64").build()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "image.tar")
	if err := built.writeArchive(file, "registry.test/program:v1"); err != nil {
		t.Fatal(err)
	}
	path := unpack(t, file)
	top, err := path.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(top); err != nil {
		t.Error(err)
	}
	manifest, err := top.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if got := manifest.Manifests[0].Annotations["io.containerd.image.name"]; got != "registry.test/program:v1" {
		t.Errorf("the image is named %q", got)
	}
	index, err := top.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	images, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for i, arch := range []string{"amd64", "arm64"} {
		image, err := index.Image(images.Manifests[i].Digest)
		if err != nil {
			t.Fatal(err)
		}
		if got := programOf(t, image); got != "program for "+arch {
			t.Errorf("the image for %s contains %q", arch, got)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if config.Architecture != arch || config.Config.User != "65532:65532" || !slices.Equal(config.Config.Entrypoint, []string{"/program", "run"}) {
			t.Errorf("got %+v for %s", config, arch)
		}
	}
}

func programOf(t *testing.T, image v1.Image) string {
	t.Helper()
	files := mutate.Extract(image)
	defer files.Close()
	for reader := tar.NewReader(files); ; {
		header, err := reader.Next()
		if err != nil {
			t.Fatal(err)
		}
		if header.Name == "program" {
			content, err := io.ReadAll(reader)
			if err != nil || header.Mode != 0o755 || header.Uid != 0 {
				t.Fatalf("got %v, %+v", err, header)
			}
			return string(content)
		}
	}
}

func TestPushedImageHasThePrintedDigest(t *testing.T) {
	server := httptest.NewServer(registry.New())
	defer server.Close()
	for _, arches := range [][]string{{"amd64"}, {"amd64", "arm64"}} {
		built, err := describe(t, arches...).build()
		if err != nil {
			t.Fatal(err)
		}
		reference, err := name.ParseReference(strings.TrimPrefix(server.URL, "http://") + "/program:v1")
		if err != nil {
			t.Fatal(err)
		}
		if err := built.push(reference); err != nil {
			t.Fatal(err)
		}
		pushed, err := remote.Head(reference)
		if err != nil {
			t.Fatal(err)
		}
		if digest, err := built.Digest(); err != nil || digest != pushed.Digest {
			t.Errorf("got %v and %v, %v", digest, pushed.Digest, err)
		}
	}
}

// TestScriptMakesTheImageOfTheDockerfile compares the image of hack/image.sh with the Dockerfile.
func TestScriptMakesTheImageOfTheDockerfile(t *testing.T) {
	script, err := os.ReadFile("../image.sh")
	if err != nil {
		t.Fatal(err)
	}
	dockerfile, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	labels := 0
	for line := range strings.Lines(string(script)) {
		label, found := strings.CutPrefix(strings.TrimSpace(line), "-label ")
		if !found {
			continue
		}
		labels++
		key, value, _ := strings.Cut(strings.TrimSuffix(label, ` \`), "=")
		quoted, err := json.Marshal(strings.Trim(value, `"`))
		if err != nil {
			t.Fatal(err)
		}
		if want := key + "=" + string(quoted); !strings.Contains(string(dockerfile), want) {
			t.Errorf("the Dockerfile lacks %s", want)
		}
	}
	if want := strings.Count(string(dockerfile), "org.opencontainers.image."); labels != want {
		t.Errorf("the script sets %d labels, the Dockerfile %d", labels, want)
	}
	for _, line := range []string{"COPY --from=build /acmeca /acmeca", "USER 65532:65532", `ENTRYPOINT ["/acmeca"]`} {
		if !strings.Contains(string(dockerfile), line) {
			t.Errorf("the Dockerfile lacks %s", line)
		}
	}
}
