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

// Options say where and how a control plane runs.
type Options struct {
	// Dir holds its state: keys, ports, etcd's data and logs. A later start with the same Dir continues from it.
	Dir string
	// AssetsDir holds the programs; "" means those that package binaries finds.
	AssetsDir string
	// UnsafeNoFsync makes etcd faster, and lose its data in a power cut. It is for tests.
	UnsafeNoFsync bool
	// APIServerArgs are added to kube-apiserver's arguments, say to turn its audit log on.
	APIServerArgs []string
	// Progress gets a line for each slow step; nil means nowhere.
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
	remove    string // a directory to remove at the end
}

const (
	startTimeout   = 2 * time.Minute  // for each program to be ready; the usual times are 1 s and 4 s
	apiserverGrace = 15 * time.Second // for kube-apiserver to end its requests
	etcdGrace      = 10 * time.Second
	portTries      = 5
)

// Start starts a control plane and returns when it is ready. It fails when another one runs in the same Dir, and ends
// what one that died has left running there.
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

// Stop stops kube-apiserver, then etcd. It takes a bounded time, and may be called again.
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
			_ = os.RemoveAll(p.remove) // a temporary directory; what stays is the system's to clean
		}
	})
}

// Processes are the programs that must keep running.
func (p *Plane) Processes() []*process.Process { return []*process.Process{p.etcd, p.apiserver} }

// URL is the API server's base URL.
func (p *Plane) URL() string { return fmt.Sprintf("https://127.0.0.1:%d", p.ports.APIServer) }

// Config is that of a client with every right (group system:masters) and no rate limit of its own.
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

// startOn runs start, again with another port while the one it got is taken: it was free when it was chosen, but other
// programs choose too.
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
