// Package acmeca starts an acmeca with its own control plane, counts their usage, and stores many orders.
package acmeca

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/hack/bench/load"
	"github.com/acmeca/acmeca/internal/test/controlplane"
	"github.com/acmeca/acmeca/internal/test/freeport"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/internal/test/process"
)

// Plane is an acmeca with a process each for the control plane, the controllers and the replicas of the ACME server.
type Plane struct {
	Local    *local.Local
	Client   *kubernetes.Clientset
	Objects  client.Client // with every right
	Replicas []*local.Replica
	Shards   []*process.Process // controllers that replace the operator's own
	// These are the pprof addresses of the controllers and of the first replica.
	controllers, server string
}

// Launch starts an acmeca without the ACME server.
type Launch func(ctx context.Context, controllerArgs ...string) (*local.Local, func(), error)

// Start starts a plane with one replica of the ACME server.
func Start(ctx context.Context, start Launch) (*Plane, func(), error) {
	var ports [2]int
	if err := freeport.Choose(&ports[0], &ports[1]); err != nil {
		return nil, nil, err
	}
	controllers, server := fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])
	l, stop, err := start(ctx, "--pprof-listen", controllers)
	if err != nil {
		return nil, nil, err
	}
	p := &Plane{Local: l, controllers: controllers, server: server}
	if err := errors.Join(l.DropFieldManagers(ctx), p.connect(ctx)); err != nil {
		stop()
		return nil, nil, err
	}
	return p, stop, nil
}

func (p *Plane) connect(ctx context.Context) error {
	config := p.Local.Plane().Config()
	scheme := runtime.NewScheme()
	err := v1alpha1.AddToScheme(scheme)
	if err != nil {
		return err
	}
	if p.Client, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	if p.Objects, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	return p.StartReplicas(ctx, 1)
}

// StartReplicas starts replicas until there are count. The first replica serves pprof for its memory.
func (p *Plane) StartReplicas(ctx context.Context, count int) error {
	for len(p.Replicas) < count {
		var args []string
		if len(p.Replicas) == 0 {
			args = []string{"--pprof-listen", p.server}
		}
		r, err := p.Local.StartReplica(ctx, args...)
		if err != nil {
			return err
		}
		p.Replicas = append(p.Replicas, r)
	}
	return nil
}

// StopReplicas stops all replicas.
func (p *Plane) StopReplicas() {
	for _, r := range p.Replicas {
		r.Stop()
	}
	p.Replicas = nil
}

// Addresses returns the replicas' addresses.
func (p *Plane) Addresses() []string {
	var all []string
	for _, r := range p.Replicas {
		all = append(all, r.Address)
	}
	return all
}

// Stop stops both halves, and leaves the control plane.
func (p *Plane) Stop() {
	p.StopReplicas()
	p.Local.StopOperator()
}

// StartHalves starts both halves at once, as a cluster does, and waits until both and the issuer are ready.
func (p *Plane) StartHalves(ctx context.Context) error {
	var both errgroup.Group
	both.Go(func() error { return p.Local.StartOperator(ctx) })
	both.Go(func() error { return p.StartReplicas(ctx, 1) })
	return both.Wait()
}

// Heaps returns the bytes on the heaps of the controllers and of the first replica, after garbage collection.
func (p *Plane) Heaps(ctx context.Context) (controllers, server float64, err error) {
	controllers, err1 := heapOf(ctx, p.controllers)
	server, err2 := heapOf(ctx, p.server)
	return controllers, server, errors.Join(err1, err2)
}

var heapAlloc = regexp.MustCompile(`(?m)^# HeapAlloc = (\d+)$`)

// heapOf returns the bytes on the heap of a process with a pprof address, after garbage collection.
func heapOf(ctx context.Context, address string) (float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/debug/pprof/heap?gc=1&debug=1", nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	match := heapAlloc.FindSubmatch(text)
	if match == nil {
		return 0, fmt.Errorf("http://%s reports no heap size", address)
	}
	return strconv.ParseFloat(string(match[1]), 64)
}

// Measure starts counting. The returned function returns the usage until its call. The cost of reading the counters is
// not counted.
func (p *Plane) Measure(ctx context.Context) func() (load.Usage, error) {
	asked, err1 := p.requests(ctx)
	spent, err2 := p.processors()
	return func() (load.Usage, error) {
		now, err3 := p.processors()
		requests, err4 := p.requests(ctx)
		now.Writes, now.Reads, spent.Writes, spent.Reads = requests.Writes, requests.Reads, asked.Writes, asked.Reads
		return now.Minus(spent), errors.Join(err1, err2, err3, err4)
	}
}

// requests returns the API server's counters of writes and reads of our kinds, without those of issuers, which no client causes.
func (p *Plane) requests(ctx context.Context) (load.Usage, error) {
	all, err := p.Local.Plane().Requests(ctx)
	ours := func(r controlplane.Request) bool {
		return r.Group == v1alpha1.GroupVersion.Group && r.Resource != "acmeissuers"
	}
	return load.Usage{
		Writes: all.Count(func(r controlplane.Request) bool { return ours(r) && r.IsWrite() }),
		Reads:  all.Count(func(r controlplane.Request) bool { return ours(r) && r.IsRead() }),
	}, err
}

// processors returns the processor time of all processes.
func (p *Plane) processors() (u load.Usage, err error) {
	var operator []int
	if len(p.Shards) == 0 {
		operator = append(operator, p.Local.OperatorPID())
	}
	for _, controllers := range p.Shards {
		operator = append(operator, controllers.PID())
	}
	for _, r := range p.Replicas {
		operator = append(operator, r.PID())
	}
	var planes []int
	for _, child := range p.Local.Plane().Processes() {
		planes = append(planes, child.PID())
	}
	var err1, err2, err3 error
	u.Server, err1 = load.ProcessorTime(operator...)
	u.Plane, err2 = load.ProcessorTime(planes...)
	u.Self, err3 = load.ProcessorTime(os.Getpid())
	return u, errors.Join(err1, err2, err3)
}
