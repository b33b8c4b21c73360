package acmeserver

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/acmeserver/nonce"
)

// A client may go from one replica to the next with each request, and each replica's cache lags behind by its own measure.
// So that no replica shows a client less than another one has shown it before, the nonce that a client takes along tells
// how far the replica was that made it: the newest resourceVersion of each kind that it knew of. The replica that gets the
// nonce waits until its own cache is as far. Among requests to one replica nothing is waited for: it shows what it knows.

// followedKinds are what clients are shown, as the stores call them.
var followedKinds = []string{"account", "order", "authorization"}

// positions are the newest resourceVersions of followedKinds.
type positions [nonce.NoteSize / 8]uint64

func (p positions) note() (n nonce.Note) {
	for i, version := range p {
		binary.BigEndian.PutUint64(n[8*i:], version)
	}
	return n
}

func positionsIn(n nonce.Note) (p positions) {
	for i := range p {
		p[i] = binary.BigEndian.Uint64(n[8*i:])
	}
	return p
}

// positions are how far this replica is.
func (s *Server) positions() positions {
	return positions{s.accounts.position.newest(), s.orders.position.newest(), s.authorizations.position.newest()}
}

// wanted is how far a kind has to be for a request; zero where that doesn't matter.
func wanted(ctx context.Context, kind string) uint64 {
	p, _ := ctx.Value(positionsKey{}).(positions)
	if i := slices.Index(followedKinds, kind); i >= 0 {
		return p[i]
	}
	return 0
}

type positionsKey struct{}

// newNonceFor makes the nonce of an answer. It passes on what the client had been shown before.
func (s *Server) newNonceFor(c *call) string {
	p := s.positions()
	for i := range p {
		p[i] = max(p[i], c.shown[i])
	}
	return s.nonces.New(p.note())
}

// follow has a request see what was shown where its nonce comes from. That holds for a nonce which can't be redeemed too:
// any replica's was made by a replica. A nonce of this replica's own may pass on what others have shown, of kinds that nothing
// was read of since.
func (s *Server) follow(c *call, n *nonce.Nonce) {
	c.shown = positionsIn(n.Note)
	if s.nonces.Own(n) {
		c.shown = s.others.upTo(c.shown)
	} else {
		s.others.raise(c.shown)
	}
	if c.shown == (positions{}) {
		return // there are no others
	}
	c.Request = c.WithContext(context.WithValue(c.Context(), positionsKey{}, c.shown))
}

// othersPositions are the newest positions that came in nonces of other replicas. What this replica has written itself is
// beyond them, and needs no wait: it is known before the cache has it.
type othersPositions [len(positions{})]atomic.Uint64

func (o *othersPositions) raise(p positions) {
	for i := range o {
		for now := o[i].Load(); now < p[i] && !o[i].CompareAndSwap(now, p[i]); now = o[i].Load() {
		}
	}
}

// upTo gives the part of an own nonce's positions that can come from others.
func (o *othersPositions) upTo(p positions) positions {
	for i := range o {
		p[i] = min(p[i], o[i].Load())
	}
	return p
}

// redeem uses up a nonce, at the replica that made it.
func (s *Server) redeem(ctx context.Context, n *nonce.Nonce, text string) error {
	err := s.nonces.Redeem(n)
	if !errors.Is(err, nonce.ErrForeign) {
		return err
	}
	if s.peers == nil || n.Address == "" {
		return nonce.ErrUnknown // it is from before a restart
	}
	return s.peers.Redeem(ctx, n.Address, text)
}

// position is how far the cache of a kind has come. Versions of one kind are compared, which Kubernetes allows.
type position struct {
	// informer tells how far the watch is, which the cache is a little later; nil where that isn't known.
	informer versioned

	mu      sync.Mutex
	cached  uint64 // the newest version that the cache has told of
	written uint64 // the newest version from an answer
	moved   chan struct{}
}

type versioned interface{ LastSyncResourceVersion() string }

// awaitPosition is how long a request waits for the cache to be as far as another replica was.
const awaitPosition = 500 * time.Millisecond

func versionOf(text string) uint64 {
	version, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0 // it is never waited for
	}
	return version
}

func (p *position) newest() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(p.cached, p.written)
}

func (p *position) wrote(object client.Object) {
	version := versionOf(object.GetResourceVersion())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.written = max(p.written, version)
}

// cameTo notes that the cache has an object, and all that was before it.
func (p *position) cameTo(object client.Object) { p.move(versionOf(object.GetResourceVersion())) }

func (p *position) move(version uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if version <= p.cached {
		return
	}
	p.cached = version
	if p.moved != nil {
		close(p.moved)
		p.moved = nil
	}
}

// behind gives what is closed when the cache has moved on; nil where it is far enough.
func (p *position) behind(version uint64) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cached >= version {
		return nil
	}
	if p.moved == nil {
		p.moved = make(chan struct{})
	}
	return p.moved
}

// reach waits until the cache is as far as the request wants it. Where that takes too long it is false: the cache can't be
// relied on.
func (p *position) reach(ctx context.Context, kind string) bool {
	version := wanted(ctx, kind)
	if version == 0 {
		return true
	}
	moved := p.behind(version)
	if moved == nil {
		return true
	}
	// A watch that is as far already has nothing more to tell up to there, as after a start: what it has told before is in
	// the cache before this wait is over.
	watched := uint64(0)
	if p.informer != nil {
		watched = versionOf(p.informer.LastSyncResourceVersion())
	}
	timer := time.NewTimer(awaitPosition)
	defer timer.Stop()
	for moved != nil {
		select {
		case <-moved:
			moved = p.behind(version)
		case <-ctx.Done():
			return false
		case <-timer.C:
			p.move(watched)
			return watched >= version
		}
	}
	return true
}
