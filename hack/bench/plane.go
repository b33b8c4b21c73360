package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/internal/test/controlplane"
	"github.com/acmeca/acmeca/internal/test/freeport"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/internal/test/process"
)

// plane is an acmeca with a process each for the control plane, the controllers and the replicas of the ACME server.
type plane struct {
	local    *local.Local
	client   *kubernetes.Clientset
	objects  client.Client // with every right
	replicas []*local.Replica
	shards   []*process.Process // controllers that replace the operator's own
	// These are the pprof addresses of the controllers and of the first replica.
	controllers, server string
}

// usage is the usage during a measurement.
type usage struct {
	writes, reads         float64
	operator, plane, self time.Duration // processor time
}

func (u *usage) add(more usage) {
	u.writes += more.writes
	u.reads += more.reads
	u.operator += more.operator
	u.plane += more.plane
	u.self += more.self
}

// launch starts an acmeca without the ACME server.
type launch func(ctx context.Context, controllerArgs ...string) (*local.Local, func(), error)

// startPlane starts a plane with one replica of the ACME server.
func startPlane(ctx context.Context, start launch) (*plane, func(), error) {
	var ports [2]int
	if err := freeport.Choose(&ports[0], &ports[1]); err != nil {
		return nil, nil, err
	}
	controllers, server := fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])
	l, stop, err := start(ctx, "--pprof-listen", controllers)
	if err != nil {
		return nil, nil, err
	}
	p := &plane{local: l, controllers: controllers, server: server}
	if err := p.connect(ctx); err != nil {
		stop()
		return nil, nil, err
	}
	return p, stop, nil
}

func (p *plane) connect(ctx context.Context) error {
	config := p.local.Plane().Config()
	scheme := runtime.NewScheme()
	err := v1alpha1.AddToScheme(scheme)
	if err != nil {
		return err
	}
	if p.client, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	if p.objects, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	return p.startReplicas(ctx, 1)
}

// startReplicas starts replicas until there are count. The first replica serves pprof for its memory.
func (p *plane) startReplicas(ctx context.Context, count int) error {
	for len(p.replicas) < count {
		var args []string
		if len(p.replicas) == 0 {
			args = []string{"--pprof-listen", p.server}
		}
		r, err := p.local.StartReplica(ctx, args...)
		if err != nil {
			return err
		}
		p.replicas = append(p.replicas, r)
	}
	return nil
}

func (p *plane) stopReplicas() {
	for _, r := range p.replicas {
		r.Stop()
	}
	p.replicas = nil
}

func (p *plane) addresses() []string {
	var all []string
	for _, r := range p.replicas {
		all = append(all, r.Address)
	}
	return all
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

// measure starts counting. The returned function returns the usage until its call. The cost of reading the counters is
// not counted.
func (p *plane) measure(ctx context.Context) func() (usage, error) {
	asked, err1 := p.requests(ctx)
	spent, err2 := p.processors()
	return func() (usage, error) {
		now, err3 := p.processors()
		requests, err4 := p.requests(ctx)
		return usage{
			requests.writes - asked.writes, requests.reads - asked.reads,
			now.operator - spent.operator, now.plane - spent.plane, now.self - spent.self,
		}, errors.Join(err1, err2, err3, err4)
	}
}

// requests returns the API server's counters of writes and reads of our kinds.
func (p *plane) requests(ctx context.Context) (usage, error) {
	all, err := p.local.Plane().Requests(ctx)
	ours := func(r controlplane.Request) bool { return r.Group == v1alpha1.GroupVersion.Group }
	return usage{
		writes: all.Count(func(r controlplane.Request) bool { return ours(r) && r.IsWrite() }),
		reads:  all.Count(func(r controlplane.Request) bool { return ours(r) && r.IsRead() }),
	}, err
}

// processors returns the processor time of all processes.
func (p *plane) processors() (u usage, err error) {
	operator := []int{p.local.OperatorPID()}
	if len(p.shards) > 0 {
		operator = nil
	}
	for _, controllers := range p.shards {
		operator = append(operator, controllers.PID())
	}
	for _, r := range p.replicas {
		operator = append(operator, r.PID())
	}
	var planes []int
	for _, child := range p.local.Plane().Processes() {
		planes = append(planes, child.PID())
	}
	for _, of := range []struct {
		pids []int
		into *time.Duration
	}{{operator, &u.operator}, {planes, &u.plane}, {[]int{os.Getpid()}, &u.self}} {
		for _, pid := range of.pids {
			used, err := processorTime(pid)
			if err != nil {
				return u, err
			}
			*of.into += used
		}
	}
	return u, nil
}

// clockTick is the unit of /proc (sysconf(_SC_CLK_TCK), 100 on every Linux that Go runs on).
const clockTick = 10 * time.Millisecond

func processorTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(fields[12])
	return time.Duration(user+system) * clockTick, err
}

// rawWrites stores authorizations from concurrent writers and does nothing else. Its rate is an upper bound for all
// loads. The authorizations belong to an account and have no response, so the controllers only read them from their
// cache.
type rawWrites struct {
	plane   *plane
	account string
	writers int

	written atomic.Int64
	took    time.Duration
}

func (r *rawWrites) drive(ctx context.Context, length time.Duration) error {
	var work errgroup.Group
	start := time.Now()
	for range r.writers {
		work.Go(func() error {
			for time.Since(start) < length {
				authz := &v1alpha1.AcmeAuthorization{
					ObjectMeta: metav1.ObjectMeta{Namespace: local.Namespace, Name: fmt.Sprintf("raw-%d", r.written.Add(1))},
					Spec: v1alpha1.AcmeAuthorizationSpec{
						IssuerRef: v1alpha1.ObjectRef{Name: "default"}, AccountRef: v1alpha1.ObjectRef{Name: r.account},
						Identifier: v1alpha1.Identifier{Type: acme.DNS, Value: "raw.bench.test"},
						Challenges: []v1alpha1.Challenge{{Type: acme.HTTP01, Token: strings.Repeat("t", 43)}},
					},
				}
				if err := r.plane.objects.Create(ctx, authz); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := work.Wait()
	r.took += time.Since(start)
	return err
}

// rate returns the writes a second.
func (r *rawWrites) rate() float64 { return float64(r.written.Load()) / r.took.Seconds() }
