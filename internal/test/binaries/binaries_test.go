package binaries

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFindUsesTheAssetsVariable(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(assetsVariable, dir)
	if _, err := Find("etcd"); err == nil || !strings.Contains(err.Error(), "make control-plane") {
		t.Errorf("got %v, want an error that says how to build it", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "etcd"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := Find("etcd"); err != nil || got != dir {
		t.Errorf("got %q, %v", got, err)
	}
	var progress bytes.Buffer
	if err := Ensure(t.Context(), &progress, "etcd"); err != nil || progress.Len() > 0 {
		t.Errorf("got %v and %q, want the directory as it is", err, &progress)
	}
	if err := Ensure(t.Context(), &progress, "kubectl"); err == nil {
		t.Error("kubectl is missing")
	}
}

func TestAnotherVersionIsNotCurrent(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b := &builder{versions: map[string]string{kubernetesModule: "v1.0.0"}}
	p := kubernetes("kubectl")
	for what, path := range map[string]string{"another program": self, "no file": "/nonexistent", "no program": "binaries_test.go"} {
		if b.current(path, p) {
			t.Errorf("%s passes for kubectl v1.0.0", what)
		}
	}
}

func TestInstallReplacesWhatIsThere(t *testing.T) {
	p := kubernetes("kubectl")
	b := &builder{bin: t.TempDir(), cache: t.TempDir(), versions: map[string]string{kubernetesModule: "v1.0.0"}}
	for _, path := range []string{filepath.Join(b.bin, p.name), filepath.Join(b.bin, "."+p.name+".new")} {
		if err := os.WriteFile(path, []byte("old"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(b.cached(p), []byte("new"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := b.install(p); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(b.bin, p.name)); err != nil || string(got) != "new" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestReporterTellsPackagesFromErrors(t *testing.T) {
	var out bytes.Buffer
	r := newReporter(&out)
	defer r.stop()
	r.begin("building etcd")
	r.expect(5)
	last := r.follow(strings.NewReader("go: downloading example.com/a v1.0.0\nexample.com/a\nexample.com/b\nb.go:1:2: wrong\n"))
	r.report()
	if want := "building etcd, 2 packages compiled (of 5 at most), now example.com/b\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("got %q, want …%q", &out, want)
	}
	if !strings.HasSuffix(last, "b.go:1:2: wrong") {
		t.Errorf("the error is lost: %q", last)
	}
}
