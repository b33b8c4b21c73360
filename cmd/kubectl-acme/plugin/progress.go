package plugin

import (
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	// progressAfter is the time before progress is shown.
	progressAfter = time.Second
	// progressEvery is the period of updates on a terminal, progressLines that of lines in a file.
	progressEvery = 200 * time.Millisecond
	progressLines = 10 * time.Second
)

// progress shows the current task on standard error if it takes longer than progressAfter.
type progress struct {
	out      io.Writer
	terminal bool
	stopped  chan struct{}
	done     sync.WaitGroup

	mu    sync.Mutex
	task  string
	count int
	all   int // 0 if unknown
}

func (o *options) progress(task string) *progress {
	p := &progress{out: o.ErrOut, terminal: isTerminal(o.ErrOut), task: task, stopped: make(chan struct{})}
	p.done.Go(p.show)
	return p
}

// add counts n more objects. left is the number of remaining ones, or nil if unknown.
func (p *progress) add(n int, left *int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count += n
	if left != nil {
		p.all = p.count + int(*left)
	}
}

func (p *progress) set(task string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.task = task
}

func (p *progress) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.count == 0:
		return p.task
	case p.all > p.count:
		return fmt.Sprintf("%s: %d of %d", p.task, p.count, p.all)
	}
	return fmt.Sprintf("%s: %d", p.task, p.count)
}

func (p *progress) stop() {
	close(p.stopped)
	p.done.Wait()
}

func (p *progress) show() {
	every, shown := progressLines, false
	if p.terminal {
		every = progressEvery
	}
	for wait := progressAfter; ; wait = every {
		select {
		case <-p.stopped:
			if shown && p.terminal {
				fmt.Fprint(p.out, "\r\x1b[K")
			}
			return
		case <-time.After(wait):
		}
		shown = true
		if p.terminal {
			fmt.Fprintf(p.out, "\r\x1b[K%s ...", p.text())
		} else {
			fmt.Fprintln(p.out, p.text()+" ...")
		}
	}
}
