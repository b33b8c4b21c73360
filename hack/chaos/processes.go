package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/api/v1alpha1"
	"github.com/acmeca/acmeca/hack/chaos/history"
	"github.com/acmeca/acmeca/internal/test/container"
	"github.com/acmeca/acmeca/internal/test/http01"
	"github.com/acmeca/acmeca/internal/test/local"
	"github.com/acmeca/acmeca/internal/test/process"
)

// site is an acmeca in separate processes: etcd, kube-apiserver, two controllers with leader election, two replicas of the ACME
// server, and a key service. A proxy is between the controllers and the API server, and between each replica and
// the API server.
type site struct {
	local    *local.Local
	admin    client.Client
	history  *history.History
	members  []*member
	service  *service
	keys     *keyService
	proxies  map[string]*proxy
	http01   *http01.Responder
	unwatch  func()
	stopHTTP func()
	stop     func()
	report   *report
	random   *mathrand.Rand
	unasked  int // controllers that ran without leader election
	// rotations counts the rotations of the CA in the key service.
	rotations int
	// clocks counts each large change of a clock and each reset: while the count is odd, a clock is wrong.
	clocks atomic.Int64
	// clockFailures counts the orders that failed because of a wrong clock.
	clockFailures atomic.Int64
}

// replicas is the number of replicas of the ACME server.
const replicas = 2

// clockTag builds an operator with a settable clock, and clockFile is the variable that names the clock's file.
const (
	clockTag  = "acmeca_clock"
	clockFile = "ACMECA_CLOCK_FILE"
)

// A member is a process of the operator, which is restarted when it ends.
type member struct {
	name, half string
	proxy      string // the name of its proxy
	args       []string
	health     int
	pprof      int
	started    int
	container  *container.Container
	peak       int64 // resident bytes of the processes so far
	process    *process.Process
	site       *site
}

const (
	stopGrace = 30 * time.Second
	// settleTimeout bounds the time until clients and controllers are idle after the last fault. The accounts end then, and with them
	// tens of thousands of authorizations after an hour.
	settleTimeout = 10 * time.Minute
)

// processes kills, stops and cuts off the processes under a load, for a duration.
func processes(ctx context.Context, o options, random *mathrand.Rand, r *report, out io.Writer) error {
	fmt.Fprintln(out, "processes are killed and stopped, connections cut and held up")
	s, err := newSite(ctx, random, r)
	if err != nil {
		return err
	}
	defer s.stop()
	before, err := s.atRest(ctx)
	if err != nil {
		return err
	}
	loadCtx, cancel := context.WithTimeout(ctx, o.processes+settleTimeout)
	defer cancel()
	end := make(chan struct{})
	done := s.load(loadCtx, "client", o.clients, end)
	faultErr := s.faults(ctx, o.processes)
	close(end)
	<-done
	settled := s.awaitAlive(ctx, settleTimeout, func() (bool, error) { return s.history.Settled(ctx, s.admin, local.Namespace) })
	s.checkLeaks(ctx, before)
	s.endMembers()
	s.checkMemory()
	s.checkKeyIssuer()
	auditErr := s.readAudit()
	violations := append(s.history.Check(), s.history.CheckFresh(time.Now())...)
	if settled != nil && len(violations) == 0 {
		violations = append(violations, history.Violation{Fault: history.Broken, What: settled.Error()})
	}
	r.count(s.history, violations)
	r.connections, r.clockFailures = s.service.connections(), int(s.clockFailures.Load())
	return errors.Join(faultErr, auditErr)
}

func newSite(ctx context.Context, random *mathrand.Rand, r *report) (*site, error) {
	l, stopLocal, err := local.StartForTestWithTags(ctx, clockTag)
	if err != nil {
		return nil, err
	}
	s := &site{local: l, history: &history.History{Several: true}, service: &service{taken: map[string]int{}}, proxies: map[string]*proxy{},
		report: r, random: random}
	s.keys = &keyService{local: l}
	s.stop = func() {
		s.endMembers()
		s.keys.stop()
		if s.unwatch != nil {
			s.unwatch()
		}
		for _, p := range s.proxies {
			p.stop()
		}
		if s.stopHTTP != nil {
			s.stopHTTP()
		}
		stopLocal()
	}
	if err := s.start(ctx); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *site) start(ctx context.Context) error {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return err
	}
	var err error
	if s.admin, err = client.New(s.local.Plane().Config(), client.Options{Scheme: scheme}); err != nil {
		return err
	}
	if s.unwatch, err = s.history.Observe(ctx, s.local.Plane(), local.Namespace); err != nil {
		return err
	}
	if s.http01, err = http01.Start(s.local.Ports().HTTP01); err != nil {
		return err
	}
	s.stopHTTP = s.http01.Stop
	// Each half is a separate process from here on.
	s.local.StopOperator()
	if err := s.keys.start(); err != nil {
		return err
	}
	if err := s.addProxy(ctx, "controller", local.ControllerAccount); err != nil {
		return err
	}
	for i := range 2 {
		m := &member{name: fmt.Sprintf("controller-%d", i), half: "controller", proxy: "controller"}
		if err := s.addMember(m, "--leader-elect"); err != nil {
			return err
		}
	}
	for i := range replicas {
		name := fmt.Sprintf("server-%d", i)
		if err := s.addProxy(ctx, name, local.ServerAccount); err != nil {
			return err
		}
		if err := s.addMember(&member{name: name, half: "server", proxy: name}, "--replica-linger", "500ms"); err != nil {
			return err
		}
	}
	for _, m := range s.members {
		if err := m.awaitReady(ctx); err != nil {
			return err
		}
	}
	return s.addKeyIssuer(ctx)
}

// addProxy starts a proxy for the API server, and writes a kubeconfig that leads to the proxy.
func (s *site) addProxy(ctx context.Context, name, account string) error {
	p, err := newProxy(func() string { return strings.TrimPrefix(s.local.Plane().URL(), "https://") })
	if err != nil {
		return err
	}
	s.proxies[name] = p
	path := s.kubeconfig(name)
	if err := s.local.Plane().WriteServiceAccountKubeconfig(ctx, local.Namespace, account, path); err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text = []byte(strings.ReplaceAll(string(text), s.local.Plane().URL(), "https://"+p.address()))
	return os.WriteFile(path, text, 0o600)
}

func (s *site) kubeconfig(proxy string) string {
	return s.local.Path("proxied-" + proxy + ".kubeconfig")
}

// addMember starts a process and keeps it running. The arguments follow its own.
func (s *site) addMember(m *member, args ...string) error {
	ports, err := local.FreePorts()
	if err != nil {
		return err
	}
	m.site, m.health, m.pprof = s, ports.ControllerHealth, ports.Metrics
	if m.half == "server" {
		own := local.ReplicaPorts{HTTPS: ports.HTTPS, HTTP: ports.HTTP, Health: m.health, Peers: ports.ServerHealth}
		m.args = s.local.ReplicaArgs(s.kubeconfig(m.proxy), own)
		s.service.replicas = append(s.service.replicas, fmt.Sprintf("127.0.0.1:%d", own.HTTPS))
	} else {
		m.args = append(s.local.ControllerArgs(s.kubeconfig(m.proxy), m.health), "--server-replica-secret", local.ReplicaSecret,
			"--key-service", s.keys.socket())
	}
	m.args = slices.Concat(m.args, args, []string{"--pprof-listen", fmt.Sprintf("127.0.0.1:%d", m.pprof)})
	if m.container, err = container.New(m.half); err != nil {
		return err
	}
	s.members = append(s.members, m)
	return m.start()
}

func (m *member) start() error {
	m.started++
	var err error
	m.process, err = m.container.Start(process.Spec{
		Name: m.name, Path: m.site.local.Program(), Args: m.args, Env: append(os.Environ(), clockFile+"="+m.clock()),
		Log: m.site.local.Path("log", fmt.Sprintf("%s.%d.log", m.name, m.started)),
	})
	return err
}

func (m *member) clock() string { return m.site.local.Path(m.name + ".clock") }

// setClock sets the member's clock ahead of the system's.
func (m *member) setClock(ahead time.Duration) error {
	return os.WriteFile(m.clock(), []byte(ahead.String()), 0o600)
}

// revive restarts an ended member. A controller that lost the lease ends by itself.
func (m *member) revive() error {
	select {
	case <-m.process.Done():
		return m.start()
	default:
		return nil
	}
}

func (m *member) signal(signal syscall.Signal) {
	m.measure()
	_ = syscall.Kill(m.process.PID(), signal)
}

// measure notes the memory of the member's process.
func (m *member) measure() {
	if usage, err := container.UsageOf(m.process.PID()); err == nil { // otherwise it has ended
		m.peak = max(m.peak, usage.Peak)
	}
}

// memory returns the memory of the member's processes at their peak.
func (m *member) memory() string {
	return fmt.Sprintf("%s %d of %d MiB", m.name, m.peak>>20, m.container.Limit>>20)
}

func (m *member) awaitReady(ctx context.Context) error {
	return m.site.awaitAlive(ctx, time.Minute, func() (bool, error) {
		_, err := get(ctx, fmt.Sprintf("http://127.0.0.1:%d/readyz", m.health))
		return err == nil, err
	})
}

func (s *site) endMembers() {
	for _, m := range s.members {
		if m.process != nil {
			m.signal(syscall.SIGCONT)
			m.process.Stop(stopGrace)
		}
	}
}

// checkMemory reports the members' memory, and those that the kernel killed for it. Each member has the memory limit of the
// manifests.
func (s *site) checkMemory() {
	for _, m := range s.members {
		s.report.memory = append(s.report.memory, m.memory())
		if killed := m.container.Killed(); killed > 0 || m.peak > m.container.Limit {
			s.report.violated(history.Violation{
				Fault: history.Broken, What: fmt.Sprintf("%s: %d processes were killed for their memory", m.memory(), killed),
			})
		}
		m.container.Close()
	}
}

// awaitAlive waits as await does, and restarts ended members. A controller notices up to ten seconds late that it has
// lost the lease, and then ends.
func (s *site) awaitAlive(ctx context.Context, patience time.Duration, condition func() (bool, error)) error {
	return s.await(ctx, patience, func() (bool, error) {
		if err := s.revive(); err != nil {
			return false, err
		}
		return condition()
	})
}

func (s *site) await(ctx context.Context, patience time.Duration, condition func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		done, err := condition()
		if done {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("after %s: %w", patience, err)
		}
	}
}

func get(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 16<<20))
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, response.Status, text)
	}
	return string(text), err
}

// readAudit reads the audit log from the controllers' logs. The last line of a killed controller may be incomplete.
func (s *site) readAudit() error {
	logs, err := filepath.Glob(s.local.Path("log", "controller-*.log"))
	if err != nil {
		return err
	}
	for _, log := range logs {
		text, err := os.ReadFile(log)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			var entry struct{ Logger, Msg, Order, Serial string }
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "certificate issued" && strings.HasSuffix(entry.Logger, "audit") {
				s.history.Audited(entry.Order, entry.Serial)
			}
		}
	}
	return nil
}
