package nonce

import "sync"

// Window is how many of the newest nonces can be redeemed: 2^23, for which the bits take 1 MiB. At a thousand nonces a
// second that is more than Lifetime; a flood of 100,000 a second leaves an honest client more than a minute.
const Window = 1 << 23

// window counts nonces and remembers which of the newest ones were redeemed: a ring of bits, in which each counter has the
// place of the one that is a window older.
type window struct {
	mu     sync.Mutex
	latest uint64 // the newest counter; the first is 1
	used   []uint64
}

// newWindow makes a window of a size that is a multiple of 64.
func newWindow(size uint64) *window { return &window{used: make([]uint64, size/64)} }

func (w *window) size() uint64 { return uint64(len(w.used)) * 64 }

// next gives the next counter, and its bit back to it.
func (w *window) next() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.latest++
	word, bit := w.place(w.latest)
	w.used[word] &^= bit
	return w.latest
}

// use marks a counter as redeemed, once. The error is ErrExpired or ErrUsed.
func (w *window) use(counter uint64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if counter > w.latest || w.latest-counter >= w.size() {
		return ErrExpired
	}
	word, bit := w.place(counter)
	if w.used[word]&bit != 0 {
		return ErrUsed
	}
	w.used[word] |= bit
	return nil
}

func (w *window) place(counter uint64) (word int, bit uint64) {
	i := counter % w.size()
	return int(i / 64), 1 << (i % 64)
}
