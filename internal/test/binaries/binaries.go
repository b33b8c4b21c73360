// Package binaries provides programs in bin/: the local control plane, cert-manager and trust-manager, other clients and servers
// of ACME, and the operator's own programs.
//
// The nested module hack/kubernetes names the modules and versions of the control plane, hack/certmanager those of
// cert-manager, and hack/step those of step. These programs take minutes to build. So they are also kept in the user's
// cache directory for other checkouts, and linked into bin/. If KUBEBUILDER_ASSETS is set, the programs of a control
// plane (Default) are used from that directory.
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

// A program of another project: its main package, the module that sets its version, and the nested module under hack/
// that names the version.
type program struct {
	name, pkg, module, nested string
	tags                      string // build tags, separated by commas
}

const (
	etcdModule        = "go.etcd.io/etcd/server/v3"
	kubernetesModule  = "k8s.io/kubernetes"
	certManagerModule = "github.com/cert-manager/cert-manager"
	containerdModule  = "github.com/containerd/containerd/v2"
	corednsModule     = "github.com/coredns/coredns"
	helmModule        = "helm.sh/helm/v4"
	helm3Module       = "helm.sh/helm/v3"
	kubeRouterModule  = "github.com/cloudnativelabs/kube-router/v2"
	imageModule       = "github.com/google/go-containerregistry"
	stepModule        = "github.com/smallstep/cli"
	stepCAModule      = "github.com/smallstep/certificates"
	pebbleModule      = "github.com/letsencrypt/pebble/v2"

	trustManagerModule = "github.com/cert-manager/trust-manager"
	opmModule          = "github.com/operator-framework/operator-registry"
	vaultModule        = "github.com/hashicorp/vault"
	vaultPluginModule  = "github.com/hashicorp/vault-plugin-auth-kubernetes"

	controlPlane = "kubernetes" // the nested module
)

var programs = []program{
	{name: "etcd", pkg: etcdModule, module: etcdModule, nested: controlPlane},
	kubernetes("kubectl"), kubernetes("kube-apiserver"), kubernetes("kube-controller-manager"),
	kubernetes("kube-scheduler"), kubernetes("kube-proxy"), kubernetes("kubelet"),
	{name: "cert-manager", pkg: certManagerModule + "/acmeca", module: certManagerModule, nested: "certmanager"},
	{name: "trust-manager", pkg: trustManagerModule + "/cmd/trust-manager", module: trustManagerModule, nested: "trustmanager"},
	{name: "opm", pkg: opmModule + "/cmd/opm", module: opmModule, nested: "opm", tags: "json1,containers_image_openpgp"}, // its own tags
	containerd("containerd"), containerd("containerd-shim-runc-v2"), containerd("ctr"),
	{name: "coredns", pkg: project.Module + "/hack/coredns", module: corednsModule, nested: "coredns"},
	{name: "helm", pkg: helmModule + "/cmd/helm", module: helmModule, nested: "helm"},
	{name: "helm3", pkg: helm3Module + "/cmd/helm", module: helm3Module, nested: "packaging/helm3"},
	{name: "kube-router", pkg: kubeRouterModule + "/cmd/kube-router", module: kubeRouterModule, nested: "kuberouter"},
	{name: "image", pkg: project.Module + "/hack/image", module: imageModule, nested: "image"},
	{name: "vault", pkg: vaultModule, module: vaultModule, nested: "vault", tags: "minimal"},
	{name: "vault-plugin-auth-kubernetes", pkg: vaultPluginModule + "/cmd/vault-plugin-auth-kubernetes", module: vaultPluginModule,
		nested: "vault"},
	{name: "step", pkg: stepModule + "/cmd/step", module: stepModule, nested: "step"},
	{name: "step-ca", pkg: stepCAModule + "/cmd/step-ca", module: stepCAModule, nested: "stepca"},
	{name: "pebble", pkg: pebbleModule + "/cmd/pebble", module: pebbleModule, nested: "pebble"},
}

func kubernetes(name string) program {
	return program{name: name, pkg: kubernetesModule + "/cmd/" + name, module: kubernetesModule, nested: controlPlane}
}

// containerd leaves out the snapshotters that need C libraries, and what a small node does not use.
func containerd(name string) program {
	return program{
		name: name, pkg: containerdModule + "/cmd/" + name, module: containerdModule, nested: "containerd",
		tags: "no_btrfs,no_devmapper,no_zfs,no_aufs,no_tracing,no_nri",
	}
}

// own maps the programs of this source tree to their packages. They are built each time, which is fast if nothing has
// changed.
var own = map[string]string{
	"acmeca":       "./cmd/acmeca",
	"kubectl-acme": "./cmd/kubectl-acme",
	"acmeca-local": "./hack/run",
}

// static maps the programs of this source tree that run in containers and nodes. They contain no C.
var static = map[string]string{
	"acmeca-client": "./hack/cluster/client",
	"acmeca-node":   "./hack/cluster/node",
}

// Default lists the programs that a control plane and its user need.
var Default = []string{"etcd", "kubectl", "kube-apiserver"}

// assetsVariable names a directory with ready-made programs. envtest of controller-runtime reads the same variable.
const assetsVariable = "KUBEBUILDER_ASSETS"

// Find returns the directory with the control plane's programs. Find builds nothing.
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

// Path returns the path of a program in bin/ that does not belong to the control plane. Path builds nothing.
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

// Ensure builds the named programs that are missing in bin/ or have another version than the nested module names.
// Ensure reports progress every few seconds. If KUBEBUILDER_ASSETS is set, the control plane's programs must exist
// there.
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
		if own[name] != "" || static[name] != "" {
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
	versions map[string]string // by module
}

// ensure provides programs of other projects.
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

// readVersion reads the wanted version from the nested module's go.mod.
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

// nested returns the directory of the nested module that builds a program.
func (b *builder) nested(p program) string { return filepath.Join(b.root, "hack", p.nested) }

func (b *builder) makeDirectories() error {
	cache, err := os.UserCacheDir()
	if err != nil { // neither HOME nor XDG_CACHE_HOME is set
		cache = b.bin
	}
	b.cache = filepath.Join(cache, "acmeca", runtime.GOOS+"-"+runtime.GOARCH)
	return errors.Join(os.MkdirAll(b.bin, 0o755), os.MkdirAll(b.cache, 0o755))
}

// cached returns the path of a program in the user's cache.
func (b *builder) cached(p program) string {
	return filepath.Join(b.cache, p.name+"-"+b.versions[p.module]+b.sourceHash(p))
}

// sourceHash distinguishes builds of a program whose main package is in the nested module.
func (b *builder) sourceHash(p program) string {
	if p.pkg == p.module || strings.HasPrefix(p.pkg, p.module+"/cmd/") {
		return ""
	}
	hash := sha256.New()
	names, _ := filepath.Glob(filepath.Join(b.nested(p), "*.go")) // the pattern is valid
	for _, name := range append([]string{filepath.Join(b.nested(p), "go.mod")}, names...) {
		text, err := os.ReadFile(name)
		if err != nil {
			return "" // the build reports the error
		}
		hash.Write(text)
	}
	return "-" + hex.EncodeToString(hash.Sum(nil)[:6])
}

// current reports whether the file is the program in the wanted version, read from the Go linker's build information.
// If the program's main package is in the nested module, the file in bin/ must be the same file as in the cache.
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

// install puts a cached program into bin/, as a hard link if the file system allows it.
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
