package store

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// A client may send each request to another replica, and the replicas' caches lag by different amounts. A nonce therefore
// carries the Positions of the replica that issued it. The replica that receives the nonce waits until its own cache is at
// least as new. A client that stays at one replica waits for nothing.

// Positions holds the newest resourceVersion of each kind that a client may have seen. Zero means none.
type Positions [kinds]uint64

// Positions returns the newest versions that this replica has seen, or, for each kind, that of shown if it is newer.
func (s *Store) Positions(shown Positions) Positions {
	return Positions{
		max(s.Accounts.position.newest(), shown[accounts]),
		max(s.Orders.position.newest(), shown[orders]),
		max(s.Authorizations.position.newest(), shown[authorizations]),
	}
}

type requiredKey struct{}

// Follow returns a context whose reads are at least as new as shown, which a nonce carried, and the part of shown that
// these reads wait for. own says that this replica issued the nonce. Reads then wait only for versions that other replicas
// showed: this replica's own writes need no wait.
func (s *Store) Follow(ctx context.Context, shown Positions, own bool) (context.Context, Positions) {
	if own {
		shown = s.foreign.limit(shown)
	} else {
		s.foreign.raise(shown)
	}
	if shown == (Positions{}) {
		return ctx, shown // there are no other replicas
	}
	return context.WithValue(ctx, requiredKey{}, shown), shown
}

// required returns the version of a kind that reads with the context must not be older than; zero for any.
func required(ctx context.Context, k kind) uint64 {
	p, _ := ctx.Value(requiredKey{}).(Positions)
	return p[k]
}

// foreignPositions are the newest positions that nonces of other replicas carried.
type foreignPositions [kinds]atomic.Uint64

func (f *foreignPositions) raise(p Positions) {
	for i := range f {
		for now := f[i].Load(); now < p[i] && !f[i].CompareAndSwap(now, p[i]); now = f[i].Load() {
		}
	}
}

// limit returns the part of an own nonce's positions that other replicas can have caused.
func (f *foreignPositions) limit(p Positions) Positions {
	for i := range f {
		p[i] = min(p[i], f[i].Load())
	}
	return p
}

// position is how new the cache of a kind is. Kubernetes allows versions of one kind to be compared.
type position struct {
	// informer knows how new the watch is, which the cache follows shortly after; nil if unknown.
	informer versioned

	mu      sync.Mutex
	cached  uint64 // the newest version in an event
	written uint64 // the newest version in an API answer
	moved   chan struct{}
}

type versioned interface{ LastSyncResourceVersion() string }

type readsAhead interface {
	IsAhead(object client.Object) bool
}

// cacheTimeout is how long a request waits for the cache to be as new as another replica's was.
const cacheTimeout = 500 * time.Millisecond

// versionOf parses a resourceVersion. It returns zero, which nobody waits for, if the text is not a number.
func versionOf(text string) uint64 {
	version, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0
	}
	return version
}

func (p *position) newest() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(p.cached, p.written)
}

func (p *position) noteWritten(object client.Object) {
	version := versionOf(object.GetResourceVersion())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.written = max(p.written, version)
}

// noteCached notes that the cache has an object, and everything older, unless the informer has read the object ahead of the others.
func (p *position) noteCached(object client.Object) {
	if informer, ok := p.informer.(readsAhead); ok && informer.IsAhead(object) {
		return
	}
	p.advance(versionOf(object.GetResourceVersion()))
}

func (p *position) advance(version uint64) {
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

// behind returns a channel that is closed when the cache advances, or nil if the cache has the version already.
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

// watched returns the version that the watch has reached, or zero if that is unknown.
func (p *position) watched() uint64 {
	if p.informer == nil {
		return 0
	}
	return versionOf(p.informer.LastSyncResourceVersion())
}

// isPast reports whether the watch has passed a state of an object: events about it are delivered, or about to be.
func (p *position) isPast(object client.Object) bool {
	version := versionOf(object.GetResourceVersion())
	return p.watched() >= version || p.behind(version) == nil
}

// upToDate waits until the cache is as new as the request requires. It returns false if that takes more than cacheTimeout.
func (s *Objects[T]) upToDate(ctx context.Context) bool {
	return s.position.reach(ctx, required(ctx, s.kind))
}

func (p *position) reach(ctx context.Context, version uint64) bool {
	if version == 0 {
		return true
	}
	moved := p.behind(version)
	if moved == nil {
		return true
	}
	// If the watch is as new already, as after a start, no event up to the version is due any more. Earlier events reach
	// the cache before the timer fires.
	watched := p.watched()
	timer := time.NewTimer(cacheTimeout)
	defer timer.Stop()
	for moved != nil {
		select {
		case <-moved:
			moved = p.behind(version)
		case <-ctx.Done():
			return false
		case <-timer.C:
			p.advance(watched)
			return watched >= version
		}
	}
	return true
}
