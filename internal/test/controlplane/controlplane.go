package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/client-go/rest"

	"github.com/acmeca/acmeca/internal/test/binaries"
	"github.com/acmeca/acmeca/internal/test/freeport"
	"github.com/acmeca/acmeca/internal/test/process"
)

// Options configures a control plane.
type Options struct {
	// Dir holds the state: keys, ports, etcd's data and logs. A later start with the same Dir continues from this
	// state.
	Dir string
	// AssetsDir holds the programs. If empty, package binaries finds them.
	AssetsDir string
	// UnsafeNoFsync makes etcd faster, but a power cut loses its data. For tests only.
	UnsafeNoFsync bool
	// APIServerArgs are additional arguments of kube-apiserver, for example to enable its audit log.
	APIServerArgs []string
	// Progress receives a line for each slow step. May be nil.
	Progress io.Writer
}

// Plane is a running control plane.
type Plane struct {
	options   Options
	keys      *keys
	ports     ports
	unlock    func()
	etcd      *process.Process
	apiserver *process.Process
	stop      sync.Once
	remove    string // directory to remove at the end
}

const (
	startTimeout   = 2 * time.Minute  // for each program to become ready; 1 s and 4 s are usual
	apiserverGrace = 15 * time.Second // for kube-apiserver to finish its requests
	etcdGrace      = 10 * time.Second
	portTries      = 5
)

// Start starts a control plane and returns when the control plane is ready. Start fails if another one runs in the
// same Dir, and kills processes that a crashed run left there.
func Start(ctx context.Context, options Options) (*Plane, error) {
	if options.Progress == nil {
		options.Progress = io.Discard
	}
	var err error
	if options.Dir, err = filepath.Abs(options.Dir); err != nil {
		return nil, err
	}
	if options.AssetsDir == "" {
		if options.AssetsDir, err = binaries.Find("etcd", "kube-apiserver"); err != nil {
			return nil, err
		}
	}
	unlock, err := lock(options.Dir)
	if err != nil {
		return nil, err
	}
	p := &Plane{options: options, unlock: unlock}
	if err := p.start(ctx); err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

func (p *Plane) start(ctx context.Context) error {
	for _, name := range []string{"kube-apiserver", "etcd"} {
		if err := process.KillStale(p.pidFile(name), p.options.Dir); err != nil {
			return err
		}
	}
	var err error
	if p.keys, err = makeKeys(p.path("pki"), time.Now()); err != nil {
		return err
	}
	if p.ports, err = choosePorts(p.path("ports.json")); err != nil {
		return err
	}
	p.say("starting etcd")
	if err := p.startEtcd(ctx); err != nil {
		return err
	}
	p.say("starting kube-apiserver")
	return p.startAPIServer(ctx)
}

// Stop stops kube-apiserver, then etcd, within a bounded time. Stop may be called again.
func (p *Plane) Stop() {
	p.stop.Do(func() {
		if p.apiserver != nil {
			p.say("stopping kube-apiserver")
			p.apiserver.Stop(apiserverGrace)
		}
		if p.etcd != nil {
			p.say("stopping etcd")
			p.etcd.Stop(etcdGrace)
		}
		p.unlock()
		if p.remove != "" {
			_ = os.RemoveAll(p.remove) // a temporary directory; errors are ignored
		}
	})
}

// Processes returns the programs that must keep running.
func (p *Plane) Processes() []*process.Process { return []*process.Process{p.etcd, p.apiserver} }

// URL returns the API server's base URL.
func (p *Plane) URL() string { return fmt.Sprintf("https://127.0.0.1:%d", p.ports.APIServer) }

// Config returns the configuration of a client in group system:masters, without a client-side rate limit.
func (p *Plane) Config() *rest.Config {
	return &rest.Config{
		Host: p.URL(),
		QPS:  -1,
		TLSClientConfig: rest.TLSClientConfig{
			CAData: p.keys.cluster.certPEM, CertData: p.keys.admin.certPEM, KeyData: p.keys.admin.keyPEM,
		},
	}
}

func (p *Plane) path(elements ...string) string {
	return filepath.Join(append([]string{p.options.Dir}, elements...)...)
}

func (p *Plane) pidFile(name string) string { return p.path(name + ".pid") }

func (p *Plane) say(text string) { fmt.Fprintln(p.options.Progress, text) }

// run starts one of the programs.
func (p *Plane) run(name string, args []string) (*process.Process, error) {
	return process.Start(process.Spec{
		Name: name,
		Path: filepath.Join(p.options.AssetsDir, name),
		Args: args,
		Log:  p.path("log", name+".log"),
		PID:  p.pidFile(name),
	})
}

// startOn runs start, and retries with another port if another program has taken the port since it was chosen.
func (p *Plane) startOn(port *int, start func() error) error {
	var err error
	for range portTries {
		err = start()
		var taken *portTakenError
		if !errors.As(err, &taken) {
			return err
		}
		if err := freeport.Choose(port); err != nil {
			return err
		}
		if err := p.ports.save(p.path("ports.json")); err != nil {
			return err
		}
	}
	return err
}
