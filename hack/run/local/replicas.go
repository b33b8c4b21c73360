package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"github.com/acmeca/acmeca/hack/process"
)

const (
	replicaSecret = "acmeca-server-replicas" // where the controllers put what the endpoint's replicas share

	replicaDelay  = 500 * time.Millisecond // for whoever sends requests to notice that the replica isn't ready
	replicaLinger = 3 * time.Second
)

// Replica is one of several processes that serve ACME, as a Pod of the endpoint would.
type Replica struct {
	// Address that it serves ACME on, and PlainAddress without TLS.
	Address, PlainAddress string

	local   *Local
	health  int
	process *process.Process
}

// StartReplica starts another replica of the endpoint, beside those that there are, and waits until it is ready. It needs
// Options.Replicas. It gets the arguments besides its own.
func (l *Local) StartReplica(ctx context.Context, args ...string) (*Replica, error) {
	if !l.options.Replicas {
		return nil, errors.New("the endpoint is in the operator's own process, without replicas")
	}
	var ports [4]int // of ACME, plain HTTP, health, other replicas
	var held []net.Listener
	for i := range ports {
		listener, err := listenOnFreePort()
		if err != nil {
			return nil, err
		}
		ports[i], held = listener.Addr().(*net.TCPAddr).Port, append(held, listener)
	}
	for _, listener := range held { // at the end, so that they are all different
		_ = listener.Close()
	}
	name := "replica-" + strconv.Itoa(ports[0])
	r := &Replica{Address: address(ports[0]), PlainAddress: address(ports[1]), local: l, health: ports[2]}
	var err error
	r.process, err = process.Start(process.Spec{
		Name: name, Path: l.options.Operator, Log: l.path("log", name+".log"),
		Args: append([]string{
			"server",
			"--kubeconfig", l.serverKubeconfig(),
			"--namespace", Namespace,
			"--default-issuer", keyOf(l.issuer),
			"--external-url", l.BaseURL(),
			"--plain-url", "http://" + address(l.options.Ports.HTTP),
			"--listen", r.Address,
			"--plain-listen", r.PlainAddress,
			"--health-listen", address(r.health),
			"--tls-dir", l.TLSDir(),
			"--replica-dir", l.path("replicas"),
			"--replica-address", "127.0.0.1",
			"--replica-listen", address(ports[3]),
			"--replica-linger", replicaLinger.String(),
			"--shutdown-delay", replicaDelay.String(),
		}, args...),
	})
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.replicas = append(l.replicas, r)
	l.mu.Unlock()
	l.watch(r.process)
	return r, r.awaitReady(ctx)
}

func (r *Replica) awaitReady(ctx context.Context) error {
	for {
		ready, why := r.local.healthy(ctx, address(r.health)+"/readyz")
		if ready {
			return nil
		}
		select {
		case <-r.process.Done():
			return r.process.Failure()
		case <-ctx.Done():
			return fmt.Errorf("%w: %s; the end of %s:\n%s", context.Cause(ctx), why, filepath.Clean(r.process.LogFile()), r.process.LogTail(20))
		case <-time.After(pollEvery):
		}
	}
}

// Ready reports whether it wants requests, by which a Service chooses where to send them.
func (r *Replica) Ready(ctx context.Context) bool {
	ready, _ := r.local.healthy(ctx, address(r.health)+"/readyz")
	return ready
}

// PID is its process id.
func (r *Replica) PID() int { return r.process.PID() }

// Stop asks it to end, and returns when it has.
func (r *Replica) Stop() {
	r.local.forget(r.process)
	r.process.Stop(operatorGrace)
}

// Kill ends it at once.
func (r *Replica) Kill() {
	r.local.forget(r.process)
	r.process.Kill()
}

// TLSDir is where the endpoint's TLS certificate is mounted.
func (l *Local) TLSDir() string { return l.path("tls") }
