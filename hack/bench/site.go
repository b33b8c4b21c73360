package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/acmeca/acmeca/hack/bench/acmeca"
	"github.com/acmeca/acmeca/hack/bench/load"
	"github.com/acmeca/acmeca/hack/bench/peers"
	"github.com/acmeca/acmeca/internal/test/binaries"
	"github.com/acmeca/acmeca/internal/test/freeport"
	"github.com/acmeca/acmeca/internal/test/http01"
	"github.com/acmeca/acmeca/internal/test/local"
)

// earlier is the commit whose build the targets refer to.
const earlier = "159b3c2"

// These name the two builds of acmeca.
const (
	oursName    = "acmeca"
	earlierName = "acmeca " + earlier
)

// site is a running server, with a responder for its challenges.
type site struct {
	name    string
	target  load.Target
	plane   *acmeca.Plane // nil for another server
	clients int           // at most; 0 for any number
	measure func(context.Context) load.Measure
	stop    func()
}

// beginTimeout bounds the registration of all clients, and their first certificates.
const beginTimeout = 2 * time.Minute

// begin begins a load.
func (s *site) begin(ctx context.Context, do load.Task) (*load.Session, error) {
	if s.plane != nil && s.target.Service == nil {
		s.target.Service = load.NewService(s.plane.Addresses()...)
	}
	within, cancel := context.WithTimeout(ctx, beginTimeout)
	defer cancel()
	session, err := s.target.Begin(within, do, s.measure(ctx))
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", s.name, do, err)
	}
	return session, nil
}

// startAcmeca starts an acmeca with one replica of the ACME server.
func (b *bench) startAcmeca(ctx context.Context, name string, launch acmeca.Launch) (*site, error) {
	fmt.Fprintf(b.out, "starting %s with a control plane\n", name)
	plane, stop, err := acmeca.Start(ctx, launch)
	if err != nil {
		return nil, err
	}
	s := &site{name: name, plane: plane, stop: stop, measure: func(ctx context.Context) load.Measure {
		return func() func() (load.Usage, error) { return plane.Measure(ctx) }
	}}
	s.target = load.Target{Directory: plane.Local.DirectoryURL(), Responder: &http01.Responder{Once: true}, Poll: b.options.poll}
	if s.target.Roots, err = load.ReadRoots(plane.Local.CAFile()); err == nil {
		err = s.target.Responder.Listen(plane.Local.Ports().HTTP01)
	}
	if err != nil {
		stop()
		return nil, err
	}
	s.stop = func() { s.target.Responder.Stop(); stop() }
	return s, nil
}

// peerTimeout bounds a request to another server.
const peerTimeout = 30 * time.Second

// startPeer starts another server, which resolves names with the DNS server at an address.
func (b *bench) startPeer(ctx context.Context, kind peers.Starter, resolver string) (*site, error) {
	fmt.Fprintf(b.out, "starting %s\n", kind.Name)
	peer, err := kind.Start(ctx, b.out, resolver)
	if err != nil {
		return nil, err
	}
	s := &site{name: kind.Name, clients: kind.Clients, target: load.Target{
		Directory: peer.Directory, Roots: peer.Roots, Poll: b.options.poll, Timeout: peerTimeout,
		Responder: &http01.Responder{}, // some servers fetch an answer several times
	}}
	s.measure = func(context.Context) load.Measure { return measurePeer(peer) }
	s.stop = func() { s.target.Responder.Stop(); peer.Stop() }
	if err := s.target.Responder.Listen(peer.HTTP01); err != nil {
		peer.Stop()
		return nil, err
	}
	return s, nil
}

// measurePeer counts the processor time of a server and of the clients.
func measurePeer(peer *peers.Peer) load.Measure {
	read := func() (u load.Usage, err error) {
		var err1, err2 error
		u.Server, err1 = peer.ProcessorTime()
		u.Self, err2 = load.ProcessorTime(os.Getpid())
		return u, errors.Join(err1, err2)
	}
	return func() func() (load.Usage, error) {
		before, beforeErr := read()
		return func() (load.Usage, error) {
			after, err := read()
			return after.Minus(before), errors.Join(beforeErr, err)
		}
	}
}

// startDNS starts a DNS server for names under .test, and returns its address.
func startDNS() (address string, stop func(), err error) {
	var port int
	if err := freeport.Choose(&port); err != nil {
		return "", nil, err
	}
	stop, err = local.StartDNS(port)
	return fmt.Sprintf("127.0.0.1:%d", port), stop, err
}

// builds is the operator of this tree, built once.
type builds struct {
	dir  string
	ours local.Built
}

func (b *bench) ours(ctx context.Context) (local.Built, error) {
	if b.builds.dir != "" {
		return b.builds.ours, nil
	}
	dir, err := os.MkdirTemp("", "acmeca-bench-")
	if err != nil {
		return local.Built{}, err
	}
	b.builds.dir, b.builds.ours = dir, local.Built{Operator: filepath.Join(dir, "acmeca")}
	return b.builds.ours, local.BuildOperator(ctx, b.builds.ours.Operator)
}

func (b *bench) earlier(ctx context.Context) (built local.Built, err error) {
	built.Operator, built.Tree, err = binaries.AtCommit(ctx, b.out, earlier)
	return built, err
}

func (b *builds) remove() {
	if b.dir != "" {
		_ = os.RemoveAll(b.dir) // a temporary directory; errors are ignored
	}
}

// startOurs starts an acmeca of this tree.
func (b *bench) startOurs(ctx context.Context, name string) (*site, error) {
	built, err := b.ours(ctx)
	if err != nil {
		return nil, err
	}
	return b.startAcmeca(ctx, name, func(ctx context.Context, args ...string) (*local.Local, func(), error) {
		return built.Start(ctx, append(args, "--max-stored-bytes", "16Gi")...) // the orders of the part stored are more than the default
	})
}

// startEarlier starts an acmeca of the earlier commit.
func (b *bench) startEarlier(ctx context.Context, name string) (*site, error) {
	built, err := b.earlier(ctx)
	if err != nil {
		return nil, err
	}
	return b.startAcmeca(ctx, name, built.Start)
}
