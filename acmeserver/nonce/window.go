package nonce

import "sync"

// Window is the number of newest nonces that can be redeemed: 2^23, whose bits take 1 MiB. At a thousand nonces a second
// the window is longer than Lifetime. A flood of 100,000 a second leaves an honest client more than a minute.
const Window = 1 << 23

// window counts nonces, and remembers which of the newest were redeemed. It is a ring of bits: each counter reuses the bit of
// the counter that is a window older.
type window struct {
	mu     sync.Mutex
	latest uint64 // the newest counter; the first is 1
	used   []uint64
}

// newWindow returns a window of a size that is a multiple of 64.
func newWindow(size uint64) *window { return &window{used: make([]uint64, size/64)} }

func (w *window) size() uint64 { return uint64(len(w.used)) * 64 }

// next returns the next counter, and clears its bit.
func (w *window) next() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.latest++
	word, bit := w.place(w.latest)
	w.used[word] &^= bit
	return w.latest
}

// use marks a counter as redeemed, once. The errors are ErrExpired and ErrUsed.
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
