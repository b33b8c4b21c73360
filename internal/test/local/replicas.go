package local

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/acmeca/acmeca/internal/test/process"
)

const (
	replicaSecret = "acmeca-server-replicas" // where the controllers put what the ACME server's replicas share

	replicaDelay  = 500 * time.Millisecond // for whoever sends requests to notice that the replica isn't ready
	replicaLinger = 3 * time.Second
)

// Replica is one of several processes that serve ACME, as a Pod of the ACME server would.
type Replica struct {
	// Address that it serves ACME on, and PlainAddress without TLS.
	Address, PlainAddress string

	local   *Local
	health  int
	process *process.Process
}

// StartReplica starts another replica of the ACME server, beside those that there are, and waits until it is ready. It needs
// Options.Replicas. It gets the arguments besides its own.
func (l *Local) StartReplica(ctx context.Context, args ...string) (*Replica, error) {
	if !l.options.Replicas {
		return nil, errors.New("the ACME server is in the operator's own process, without replicas")
	}
	ports, err := FreeReplicaPorts()
	if err != nil {
		return nil, err
	}
	name := "replica-" + strconv.Itoa(ports.HTTPS)
	r := &Replica{Address: address(ports.HTTPS), PlainAddress: address(ports.HTTP), local: l, health: ports.Health}
	r.process, err = process.Start(process.Spec{
		Name: name, Path: l.options.Operator, Log: l.path("log", name+".log"), Args: append(l.ReplicaArgs(l.serverKubeconfig(), ports), args...),
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

// TLSDir is where the ACME server's TLS certificate is mounted.
func (l *Local) TLSDir() string { return l.path("tls") }
