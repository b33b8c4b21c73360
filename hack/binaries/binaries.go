// Package binaries provides in bin/ the programs of the local control plane, and the operator's own.
//
// The control plane's modules and their versions are those of the nested module hack/kubernetes. They take minutes to
// build, so they are kept in the user's cache directory for other checkouts too, and linked into bin/. Where
// KUBEBUILDER_ASSETS is set, the programs in that directory are used as they are.
package binaries

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/acmeca/acmeca/hack/project"
)

// A program of the control plane: the main package it is built from, and that package's module.
type program struct {
	name, pkg, module string
}

const (
	etcdModule       = "go.etcd.io/etcd/server/v3"
	kubernetesModule = "k8s.io/kubernetes"
)

var programs = []program{
	{"etcd", etcdModule, etcdModule},
	{"kubectl", kubernetesModule + "/cmd/kubectl", kubernetesModule},
	{"kube-apiserver", kubernetesModule + "/cmd/kube-apiserver", kubernetesModule},
	{"kube-controller-manager", kubernetesModule + "/cmd/kube-controller-manager", kubernetesModule},
}

// own are the programs of this source tree. They are built each time, which is quick when nothing has changed.
var own = map[string]string{
	"acmeca":       "./cmd/acmeca",
	"kubectl-acme": "./cmd/kubectl-acme",
	"acmeca-local": "./hack/run",
}

// Default is what a control plane and its user need.
var Default = []string{"etcd", "kubectl", "kube-apiserver"}

// assetsVariable names a directory with ready-made programs; it is the one that controller-runtime's envtest reads.
const assetsVariable = "KUBEBUILDER_ASSETS"

// Find returns the directory with the control plane's programs, and builds nothing.
func Find(names ...string) (string, error) {
	dir := os.Getenv(assetsVariable)
	if dir == "" {
		root, err := project.Root()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(root, "bin")
	}
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return "", fmt.Errorf("the control plane needs %s (build it with `make control-plane`): %w", name, err)
		}
	}
	return filepath.Abs(dir)
}

// Ensure builds those of the named programs that are missing in bin/ or are not in the version of
// hack/kubernetes/go.mod. It writes to progress what it does, at least every few seconds. What KUBEBUILDER_ASSETS has to
// have must be there.
func Ensure(ctx context.Context, progress io.Writer, names ...string) error {
	root, err := project.Root()
	if err != nil {
		return err
	}
	b := &builder{
		ctx:      ctx,
		root:     root,
		module:   filepath.Join(root, "hack", "kubernetes"),
		bin:      filepath.Join(root, "bin"),
		progress: progress,
	}
	ours, foreign := split(names)
	if len(foreign) > 0 {
		if err := b.ensure(foreign); err != nil {
			return err
		}
	}
	return b.buildOwn(ours)
}

func split(names []string) (ours, foreign []string) {
	for _, name := range names {
		if _, ok := own[name]; ok {
			ours = append(ours, name)
		} else {
			foreign = append(foreign, name)
		}
	}
	return ours, foreign
}

type builder struct {
	ctx      context.Context
	root     string // the source tree's
	module   string // the directory of the nested module
	bin      string
	cache    string
	progress io.Writer
	versions map[string]string // of the modules
}

// ensure provides programs of the control plane.
func (b *builder) ensure(names []string) error {
	if os.Getenv(assetsVariable) != "" {
		_, err := Find(names...)
		return err
	}
	if err := b.readVersions(); err != nil {
		return err
	}
	if err := b.makeDirectories(); err != nil {
		return err
	}
	var missing []program
	for _, name := range names {
		p, err := find(name)
		if err != nil {
			return err
		}
		if b.current(filepath.Join(b.bin, name), p) {
			continue
		}
		if b.current(b.cached(p), p) {
			if err := b.install(p); err != nil {
				return err
			}
			continue
		}
		missing = append(missing, p)
	}
	return b.buildAll(missing)
}

func find(name string) (program, error) {
	for _, p := range programs {
		if p.name == name {
			return p, nil
		}
	}
	return program{}, fmt.Errorf("unknown program %q", name)
}

// readVersions asks go.mod which versions are wanted.
func (b *builder) readVersions() error {
	cmd := exec.CommandContext(b.ctx, "go", "list", "-m", "-f", "{{.Path}} {{.Version}}", etcdModule, kubernetesModule)
	cmd.Dir = b.module
	cmd.Stderr = b.progress
	output, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("reading the versions in %s: %w", b.module, err)
	}
	b.versions = map[string]string{}
	for line := range strings.Lines(string(output)) {
		if path, version, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			b.versions[path] = version
		}
	}
	return nil
}

func (b *builder) makeDirectories() error {
	cache, err := os.UserCacheDir()
	if err != nil { // neither HOME nor XDG_CACHE_HOME is set
		cache = b.bin
	}
	b.cache = filepath.Join(cache, "acmeca", runtime.GOOS+"-"+runtime.GOARCH)
	return errors.Join(os.MkdirAll(b.bin, 0o755), os.MkdirAll(b.cache, 0o755))
}

// cached is the path of a program in the user's cache.
func (b *builder) cached(p program) string {
	return filepath.Join(b.cache, p.name+"-"+b.versions[p.module])
}

// current says whether the file is that program in the wanted version, by what the Go linker wrote into it.
func (b *builder) current(path string, p program) bool {
	info, err := buildinfo.ReadFile(path)
	return err == nil && info.Path == p.pkg && info.Main.Version == b.versions[p.module]
}

// install puts a cached program into bin/, as a hard link where the file system allows one.
func (b *builder) install(p program) error {
	temporary := filepath.Join(b.bin, "."+p.name+".new")
	if err := os.Remove(temporary); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Link(b.cached(p), temporary); err != nil {
		if err := copyFile(b.cached(p), temporary); err != nil {
			return err
		}
	}
	return os.Rename(temporary, filepath.Join(b.bin, p.name))
}

func copyFile(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}
