// Package binaries provides in bin/ the programs of the local control plane, cert-manager's controllers, and the operator's
// own.
//
// The control plane's modules and their versions are those of the nested module hack/kubernetes, cert-manager's those of
// hack/certmanager. They take minutes to build, so they are kept in the user's cache directory for other checkouts too, and
// linked into bin/. Where KUBEBUILDER_ASSETS is set, what a control plane needs (Default) is used as it is in that directory.
package binaries

import (
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/acmeca/acmeca/internal/test/project"
)

// A program of others: the main package it is built from, the module whose version it has, and the nested module under
// hack/ that names the version.
type program struct {
	name, pkg, module, nested string
}

const (
	etcdModule        = "go.etcd.io/etcd/server/v3"
	kubernetesModule  = "k8s.io/kubernetes"
	certManagerModule = "github.com/cert-manager/cert-manager"

	controlPlane = "kubernetes" // the nested module
)

var programs = []program{
	{"etcd", etcdModule, etcdModule, controlPlane},
	{"kubectl", kubernetesModule + "/cmd/kubectl", kubernetesModule, controlPlane},
	{"kube-apiserver", kubernetesModule + "/cmd/kube-apiserver", kubernetesModule, controlPlane},
	{"kube-controller-manager", kubernetesModule + "/cmd/kube-controller-manager", kubernetesModule, controlPlane},
	{"cert-manager", "github.com/acmeca/acmeca/hack/certmanager", certManagerModule, "certmanager"},
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

// Path is that of a program in bin/ that is none of the control plane's. It builds nothing.
func Path(name string) (string, error) {
	root, err := project.Root()
	if err != nil {
		return "", err
	}
	path := filepath.Join(root, "bin", name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("build it with `make %s`: %w", name, err)
	}
	return path, nil
}

// Ensure builds those of the named programs that are missing in bin/ or are not in the version that the nested module
// names. It writes to progress what it does, at least every few seconds. What KUBEBUILDER_ASSETS has to
// have must be there.
func Ensure(ctx context.Context, progress io.Writer, names ...string) error {
	root, err := project.Root()
	if err != nil {
		return err
	}
	b := &builder{
		ctx:      ctx,
		root:     root,
		bin:      filepath.Join(root, "bin"),
		progress: progress,
		versions: map[string]string{},
	}
	var ours []string
	var foreign []program
	for _, name := range names {
		if _, ok := own[name]; ok {
			ours = append(ours, name)
			continue
		}
		p, err := find(name)
		if err != nil {
			return err
		}
		if os.Getenv(assetsVariable) != "" && slices.Contains(Default, name) {
			if _, err := Find(name); err != nil {
				return err
			}
			continue
		}
		foreign = append(foreign, p)
	}
	if err := b.ensure(foreign); err != nil {
		return err
	}
	return b.buildOwn(ours)
}

type builder struct {
	ctx      context.Context
	root     string // the source tree's
	bin      string
	cache    string
	progress io.Writer
	versions map[string]string // of the modules
}

// ensure provides programs of others.
func (b *builder) ensure(wanted []program) error {
	if len(wanted) == 0 {
		return nil
	}
	if err := b.makeDirectories(); err != nil {
		return err
	}
	var missing []program
	for _, p := range wanted {
		if err := b.readVersion(p); err != nil {
			return err
		}
		if b.current(filepath.Join(b.bin, p.name), p) {
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

// readVersion asks the nested module's go.mod which version is wanted.
func (b *builder) readVersion(p program) error {
	cmd := exec.CommandContext(b.ctx, "go", "list", "-m", "-f", "{{.Version}}", p.module)
	cmd.Dir = b.nested(p)
	cmd.Stderr = b.progress
	output, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("reading the version of %s in %s: %w", p.module, cmd.Dir, err)
	}
	b.versions[p.module] = strings.TrimSpace(string(output))
	return nil
}

// nested is the directory of the nested module that a program is built in.
func (b *builder) nested(p program) string { return filepath.Join(b.root, "hack", p.nested) }

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
	return filepath.Join(b.cache, p.name+"-"+b.versions[p.module]+b.sourceHash(p))
}

// sourceHash tells apart the builds of a program whose main package is in the nested module itself.
func (b *builder) sourceHash(p program) string {
	if strings.HasPrefix(p.pkg, p.module) {
		return ""
	}
	hash := sha256.New()
	for _, name := range []string{"go.mod", "main.go"} {
		text, err := os.ReadFile(filepath.Join(b.nested(p), name))
		if err != nil {
			return "" // which building it will tell
		}
		hash.Write(text)
	}
	return "-" + hex.EncodeToString(hash.Sum(nil)[:6])
}

// current says whether the file is that program in the wanted version, by what the Go linker wrote into it. In bin/, a
// program whose main package is in the nested module has to be the very file that is in the cache.
func (b *builder) current(path string, p program) bool {
	info, err := buildinfo.ReadFile(path)
	if err != nil || info.Path != p.pkg {
		return false
	}
	if info.Main.Path == p.module {
		return info.Main.Version == b.versions[p.module]
	}
	file, err := os.Stat(path)
	cached, cacheErr := os.Stat(b.cached(p))
	return err == nil && cacheErr == nil && os.SameFile(file, cached)
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
