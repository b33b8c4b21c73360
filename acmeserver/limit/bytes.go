package limit

import "sync"

// SmallBody is the size in bytes up to which a body may use the whole budget of Bytes. Most requests are smaller.
const SmallBody = 4 << 10

// Bytes bounds the memory that request bodies use: in total, and for each client. Bodies larger than SmallBody can use half
// of the budget, so that large bodies keep no small ones out.
type Bytes struct {
	budget, perClient int64

	mu       sync.Mutex
	used     int64
	byClient map[string]int64
}

// NewBytes returns a Bytes with a budget in bytes. One client gets at most a quarter.
func NewBytes(budget int64) *Bytes {
	return &Bytes{budget: budget, perClient: budget / 4, byClient: map[string]int64{}}
}

// Grow reserves more bytes for a body of a client that has held bytes, and reports whether they were free. The caller must
// release all bytes of a body.
func (b *Bytes) Grow(client string, held, more int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	budget := b.budget
	if held+more > SmallBody {
		budget /= 2
	}
	if b.used+more > budget || b.byClient[client]+more > b.perClient {
		return false
	}
	b.used += more
	b.byClient[client] += more
	return true
}

// Release frees the bytes of a body.
func (b *Bytes) Release(client string, held int64) {
	if held == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= held
	if b.byClient[client] -= held; b.byClient[client] == 0 {
		delete(b.byClient, client)
	}
}

// InUse returns the number of reserved bytes.
func (b *Bytes) InUse() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}
