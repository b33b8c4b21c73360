package authority

import (
	"crypto"
	"errors"
	"slices"
	"strings"
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/acmeca/acmeca/controllers/ca"
)

// keyWorkers bounds the keys that are generated at the same time.
const keyWorkers = 2

// errKeyPending is returned while a key is being generated.
var errKeyPending = errors.New("the key is being generated")

// KeyPool generates RSA keys beside the reconciles of issuers: an RSA-4096 key takes seconds. Namespaces take turns, so that the
// issuers of one namespace do not delay those of another. A nil KeyPool generates each key at once.
type KeyPool struct {
	// Ready is called once a key of an issuer can be taken.
	Ready func(issuer client.ObjectKey)
	// Generate is nil for ca.GenerateKey.
	Generate func(ca.KeyAlgorithm) (crypto.Signer, error)

	mu      sync.Mutex
	keys    map[keySlot]*pendingKey
	waiting map[string][]keySlot // by namespace, each with at least one
	turns   []string             // the namespaces in waiting
	running int
}

// keySlot is the use of a key: a CA of an issuer.
type keySlot struct {
	issuer client.ObjectKey
	role   string
}

// pendingKey is a key that is generated, or waits to be taken.
type pendingKey struct {
	algorithm ca.KeyAlgorithm
	done      bool
	key       crypto.Signer
	err       error
}

// take returns a new key, which it returns to no other caller. It returns errKeyPending until the key is generated.
func (p *KeyPool) take(issuer client.ObjectKey, role string, algorithm ca.KeyAlgorithm) (crypto.Signer, error) {
	if p == nil || !strings.HasPrefix(string(algorithm), "RSA") {
		return ca.GenerateKey(algorithm)
	}
	slot := keySlot{issuer, role}
	p.mu.Lock()
	defer p.mu.Unlock()
	if pending := p.keys[slot]; pending != nil && pending.algorithm == algorithm {
		if !pending.done {
			return nil, errKeyPending
		}
		delete(p.keys, slot)
		return pending.key, pending.err
	}
	if p.keys == nil {
		p.keys, p.waiting = map[keySlot]*pendingKey{}, map[string][]keySlot{}
	}
	p.keys[slot] = &pendingKey{algorithm: algorithm}
	if !slices.Contains(p.waiting[issuer.Namespace], slot) {
		p.enqueue(slot)
	}
	if p.running < keyWorkers {
		p.running++
		go p.work()
	}
	return nil, errKeyPending
}

// Forget drops the keys of a deleted issuer.
func (p *KeyPool) Forget(issuer client.ObjectKey) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for slot := range p.keys {
		if slot.issuer == issuer {
			delete(p.keys, slot)
		}
	}
}

func (p *KeyPool) enqueue(slot keySlot) {
	namespace := slot.issuer.Namespace
	if len(p.waiting[namespace]) == 0 {
		p.turns = append(p.turns, namespace)
	}
	p.waiting[namespace] = append(p.waiting[namespace], slot)
}

// dequeue returns the next slot of the namespace whose turn it is.
func (p *KeyPool) dequeue() (keySlot, bool) {
	if len(p.turns) == 0 {
		return keySlot{}, false
	}
	namespace := p.turns[0]
	p.turns = p.turns[1:]
	slot, rest := p.waiting[namespace][0], p.waiting[namespace][1:]
	if len(rest) == 0 {
		delete(p.waiting, namespace)
	} else {
		p.waiting[namespace] = rest
		p.turns = append(p.turns, namespace)
	}
	return slot, true
}

// work generates keys until none is waiting.
func (p *KeyPool) work() {
	generate := p.Generate
	if generate == nil {
		generate = ca.GenerateKey
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		slot, ok := p.dequeue()
		if !ok {
			p.running--
			return
		}
		pending := p.keys[slot]
		if pending == nil {
			continue // the issuer was deleted
		}
		p.mu.Unlock()
		key, err := generate(pending.algorithm)
		p.mu.Lock()
		if p.keys[slot] != pending {
			continue
		}
		pending.done, pending.key, pending.err = true, key, err
		p.mu.Unlock()
		p.Ready(slot.issuer)
		p.mu.Lock()
	}
}
