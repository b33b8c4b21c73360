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
		t.Errorf("a quick task writes %q", out.text.String())
	}
	slow := o.progress("listing orders")
	left := int64(1000)
	slow.add(500, &left)
	<-out.first
	slow.stop()
	if got := out.text.String(); got != "listing orders: 500 of 1500 ...\n" {
		t.Errorf("got %q", got)
	}
}

func TestProgressCountsWhatIsLeftWhereItIsKnown(t *testing.T) {
	p, left := &progress{task: "reading"}, int64(500)
	for _, step := range []struct {
		n    int
		left *int64
		want string
	}{{0, nil, "reading"}, {100, nil, "reading: 100"}, {400, &left, "reading: 500 of 1000"}, {100, nil, "reading: 600 of 1000"}, {400, nil, "reading: 1000"}} {
		p.add(step.n, step.left)
		if got := p.text(); got != step.want {
			t.Errorf("got %q, not %q", got, step.want)
		}
	}
}
