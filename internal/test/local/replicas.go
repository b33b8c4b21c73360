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
	replicaSecret = "acmeca-server-replicas" // shared by the ACME server's replicas, written by the controllers

	replicaDelay  = 500 * time.Millisecond // for clients to notice that the replica is not ready
	replicaLinger = 3 * time.Second
)

// Replica is one of several processes that serve ACME, like a Pod of the ACME server.
type Replica struct {
	// Address serves ACME, PlainAddress serves without TLS.
	Address, PlainAddress string

	local   *Local
	health  int
	process *process.Process
}

// StartReplica starts another replica of the ACME server with additional arguments, and waits until it is ready.
// Options.Replicas must be set.
func (l *Local) StartReplica(ctx context.Context, args ...string) (*Replica, error) {
	if !l.options.Replicas {
		return nil, errors.New("the ACME server is in the operator's own process, without replicas")
	}
	ports, err := FreeReplicaPorts()
	if err != nil {
		return nil, err
	}
	return l.startReplica(ctx, ports, args)
}

// StartServer starts the only replica of the ACME server, at Ports().HTTPS.
func (l *Local) StartServer(ctx context.Context, args ...string) (*Replica, error) {
	free, err := FreeReplicaPorts()
	if err != nil {
		return nil, err
	}
	own := l.options.Ports
	return l.startReplica(ctx, ReplicaPorts{HTTPS: own.HTTPS, HTTP: own.HTTP, Health: own.ServerHealth, Peers: free.Peers}, args)
}

func (l *Local) startReplica(ctx context.Context, ports ReplicaPorts, args []string) (*Replica, error) {
	name := "replica-" + strconv.Itoa(ports.HTTPS)
	r := &Replica{Address: address(ports.HTTPS), PlainAddress: address(ports.HTTP), local: l, health: ports.Health}
	var err error
	r.process, err = l.startHalf("server", process.Spec{
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

// Ready reports whether the replica is ready for requests. A Service chooses its targets by this.
func (r *Replica) Ready(ctx context.Context) bool {
	ready, _ := r.local.healthy(ctx, address(r.health)+"/readyz")
	return ready
}

// Log returns the path of the replica's log.
func (r *Replica) Log() string { return r.process.LogFile() }

// PID returns the replica's process id.
func (r *Replica) PID() int { return r.process.PID() }

// Stop asks the replica to end, and returns when it has ended.
func (r *Replica) Stop() {
	r.local.forget(r.process)
	r.process.Stop(operatorGrace)
}

// Kill kills the replica.
func (r *Replica) Kill() {
	r.local.forget(r.process)
	r.process.Kill()
}

// FreezeVolumes leaves the mounted Secrets as they are. A kubelet takes more than a minute to mount a changed Secret.
func (l *Local) FreezeVolumes() { l.unmount() }

// TLSDir returns the directory where the ACME server's TLS certificate is mounted.
func (l *Local) TLSDir() string { return l.path("tls") }
