package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/controlplane"
	"github.com/acmeca/acmeca/internal/test/process"
)

// Options configures acmeca.
type Options struct {
	Dir           string    // the state, kept across restarts
	Operator      string    // the operator's program
	Tree          string    // the source tree with the operator's manifests; "" for this one
	OperatorArgs  []string  // additional arguments of the operator
	IssuerFile    string    // the AcmeIssuer to serve and its dependencies; "" for a built-in one
	Ports         Ports     // on 127.0.0.1
	UnsafeNoFsync bool      // faster, but a power cut loses data; for tests only
	Replicas      bool      // the ACME server runs in separate processes, started by StartReplica; for tests
	Contained     bool      // the halves have the memory limits of the manifests; for tests
	APIServerArgs []string  // additional arguments of kube-apiserver; for tests
	Progress      io.Writer // receives a line for each slow step
}

// Local is a running acmeca.
type Local struct {
	options  Options
	plane    *controlplane.Plane
	client   client.Client              // with every right
	issuer   *unstructured.Unstructured // from the issuer file
	dns      *dnsServer
	unmount  context.CancelFunc
	operator *process.Process
	failures chan error
	stop     sync.Once

	mu        sync.Mutex
	contained []*Half
	watched   []*process.Process // their end is a failure
	replicas  []*Replica
}

// Start starts everything and returns when certificates can be issued. Start fails if another acmeca runs in the same
// Dir.
func Start(ctx context.Context, options Options) (*Local, error) {
	if options.Progress == nil {
		options.Progress = io.Discard
	}
	var err error
	if options.Dir, err = filepath.Abs(options.Dir); err != nil {
		return nil, err
	}
	l := &Local{options: options, failures: make(chan error, 8)}
	if err := l.start(ctx); err != nil {
		select {
		case failure := <-l.failures: // a child ended, which caused err
			err = failure
		default:
		}
		l.Stop()
		return nil, err
	}
	return l, nil
}

func (l *Local) start(ctx context.Context) error {
	objects, issuer, err := readIssuer(l.options.IssuerFile, l.options.Ports)
	if err != nil {
		return fmt.Errorf("the issuer's file %s: %w", l.options.IssuerFile, err)
	}
	l.issuer = issuer
	if err := l.startSurroundings(ctx); err != nil {
		return err
	}
	if err := l.applyManifests(ctx); err != nil {
		return err
	}
	if err := l.plane.Apply(ctx, objects...); err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return err
	}
	if l.client, err = client.New(l.plane.Config(), client.Options{Scheme: scheme}); err != nil {
		return err
	}
	if err := l.writeCredentials(ctx); err != nil {
		return err
	}
	if err := l.StartOperator(ctx); err != nil {
		return err
	}
	return l.writeCA(ctx)
}

// startSurroundings starts everything except the operator.
func (l *Local) startSurroundings(ctx context.Context) error {
	var err error
	l.plane, err = controlplane.Start(ctx, controlplane.Options{
		Dir:           l.options.Dir,
		UnsafeNoFsync: l.options.UnsafeNoFsync,
		APIServerArgs: l.options.APIServerArgs,
		Progress:      l.options.Progress,
	})
	if err != nil {
		return err
	}
	for _, child := range l.plane.Processes() {
		l.watch(child)
	}
	// This process holds the control plane's lock, so the parent of an older process has ended.
	if err := process.KillStale(l.pidFile(), l.options.Dir); err != nil {
		return err
	}
	if err := l.options.Ports.checkFree(); err != nil {
		return err
	}
	if l.dns, err = startDNS(l.options.Ports.DNS); err != nil {
		return fmt.Errorf("the DNS server for .test: %w", err)
	}
	mounting, unmount := context.WithCancel(context.Background()) // ended by Stop
	l.unmount = unmount
	return errors.Join(
		mountSecret(mounting, l.plane.Config(), Namespace, serverSecret, l.TLSDir(), l.fail),
		mountSecret(mounting, l.plane.Config(), Namespace, replicaSecret, l.path("replicas"), l.fail),
	)
}

// applyManifests applies the manifests of an installation, without the Pods.
func (l *Local) applyManifests(ctx context.Context) error {
	l.say("applying the manifests")
	namespace := &unstructured.Unstructured{}
	namespace.SetAPIVersion("v1")
	namespace.SetKind("Namespace")
	namespace.SetName(Namespace)
	if err := l.plane.Apply(ctx, namespace); err != nil {
		return err
	}
	paths := []string{"config/crd/bases", "config/rbac", "config/admission"}
	if slices.Contains(l.options.OperatorArgs, "--pod-certificates") {
		paths = append(paths, "config/pod-certificates")
	}
	if l.options.Tree != "" {
		return l.plane.ApplyTree(ctx, l.options.Tree, paths...)
	}
	return l.plane.ApplyProject(ctx, paths...)
}

// writeCredentials writes the kubeconfigs: a person's, and those of the operator's halves.
func (l *Local) writeCredentials(ctx context.Context) error {
	return errors.Join(
		l.plane.WriteKubeconfig(l.Kubeconfig()),
		l.plane.WriteServiceAccountKubeconfig(ctx, Namespace, controllerAccount, l.controllerKubeconfig()),
		l.plane.WriteServiceAccountKubeconfig(ctx, Namespace, serverAccount, l.serverKubeconfig()),
	)
}

// waitForIssuer waits until the served issuer is ready.
func (l *Local) waitForIssuer(ctx context.Context) error {
	return l.waitForOperator(ctx, func() (bool, string) {
		issuer, err := l.getIssuer(ctx)
		if err != nil {
			return false, err.Error()
		}
		ok, why := ready(issuer)
		if ok {
			ok, why = l.servedHere(issuer)
		}
		return ok, fmt.Sprintf("AcmeIssuer %s isn't ready: %s", keyOf(l.issuer), why)
	})
}

// servedHere reports whether the issuer's status belongs to this run, which may use other ports than the last run. An
// issuer with its own URLs is served under those.
func (l *Local) servedHere(issuer *unstructured.Unstructured) (bool, string) {
	if urls, _, _ := unstructured.NestedStringSlice(issuer.Object, "spec", "externalURLs"); len(urls) > 0 {
		return true, ""
	}
	directory, _, _ := unstructured.NestedString(issuer.Object, "status", "directoryURL")
	return directory == l.DirectoryURL(), "its directory is " + directory
}

func (l *Local) getIssuer(ctx context.Context) (*unstructured.Unstructured, error) {
	issuer := &unstructured.Unstructured{}
	issuer.SetGroupVersionKind(l.issuer.GroupVersionKind())
	return issuer, l.client.Get(ctx, client.ObjectKeyFromObject(l.issuer), issuer)
}

// writeCA writes the certificates that a client must trust.
func (l *Local) writeCA(ctx context.Context) error {
	issuer, err := l.getIssuer(ctx)
	if err != nil {
		return err
	}
	bundle, _, err := unstructured.NestedString(issuer.Object, "status", "caBundle")
	if err != nil || bundle == "" {
		return fmt.Errorf("AcmeIssuer %s has no status.caBundle", keyOf(l.issuer))
	}
	return os.WriteFile(l.CAFile(), []byte(bundle), 0o644)
}

// Stop stops everything, the operator first, within a bounded time. Stop may be called again.
func (l *Local) Stop() {
	l.stop.Do(func() {
		l.forgetAll()
		for _, r := range l.replicas {
			r.Kill()
		}
		if l.operator != nil {
			l.say("stopping acmeca")
			l.StopOperator()
		}
		if l.unmount != nil {
			l.unmount()
		}
		l.dns.stop()
		if l.plane != nil {
			l.plane.Stop()
		}
	})
}

// Failures reports children that ended by themselves.
func (l *Local) Failures() <-chan error { return l.failures }

func (l *Local) fail(err error) {
	select {
	case l.failures <- err:
	default: // the first failures are enough
	}
}

// watch makes the end of a child a failure.
func (l *Local) watch(p *process.Process) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watched = append(l.watched, p)
	go func() {
		<-p.Done()
		if l.isWatched(p) {
			l.fail(p.Failure())
		}
	}()
}

func (l *Local) isWatched(p *process.Process) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.watched, p)
}

// forget makes the end of a child expected.
func (l *Local) forget(p *process.Process) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watched = slices.DeleteFunc(l.watched, func(w *process.Process) bool { return w == p })
}

func (l *Local) forgetAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watched = nil
}

// Plane returns the control plane.
func (l *Local) Plane() *controlplane.Plane { return l.plane }

// Client returns a client for Kubernetes and acmeca's kinds, with every right and without a cache.
func (l *Local) Client() client.Client { return l.client }

// Ports returns the ports in use.
func (l *Local) Ports() Ports { return l.options.Ports }

// BaseURL returns the ACME server's base URL.
func (l *Local) BaseURL() string { return "https://" + address(l.options.Ports.HTTPS) }

// DirectoryURL returns the URL that an ACME client is configured with.
func (l *Local) DirectoryURL() string { return l.BaseURL() + "/acme/directory" }

// MetricsURL returns the URL of both halves' metrics.
func (l *Local) MetricsURL() string { return "http://" + address(l.options.Ports.Metrics) + "/metrics" }

// CAFile returns the path of the PEM file with the certificates that a client must trust.
func (l *Local) CAFile() string { return l.path("ca.crt") }

// Kubeconfig returns the path of a kubeconfig with every right.
func (l *Local) Kubeconfig() string { return l.path("kubeconfig") }

func (l *Local) path(elements ...string) string {
	return filepath.Join(append([]string{l.options.Dir}, elements...)...)
}

func (l *Local) say(text string) { fmt.Fprintln(l.options.Progress, text) }
