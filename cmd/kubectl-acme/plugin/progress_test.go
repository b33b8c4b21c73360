package plugin

import (
	"strings"
	"sync"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// heard is a writer that tells when something was written.
type heard struct {
	mu    sync.Mutex
	text  strings.Builder
	first chan struct{}
	once  sync.Once
}

func (h *heard) Write(text []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.text.Write(text)
	h.once.Do(func() { close(h.first) })
	return len(text), nil
}

func TestProgressIsShownOfWhatTakesLong(t *testing.T) {
	out := &heard{first: make(chan struct{})}
	o := &options{IOStreams: genericiooptions.IOStreams{ErrOut: out}}
	quick := o.progress("reading")
	quick.stop()
	if out.text.Len() > 0 {
		t.Errorf("of what is quick it says %q", out.text.String())
	}
	slow := o.progress("listing orders")
	slow.add(500)
	<-out.first
	slow.stop()
	if got := out.text.String(); got != "listing orders: 500 ...\n" {
		t.Errorf("got %q", got)
	}
}
