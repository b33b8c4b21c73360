package local

import (
	"slices"

	"github.com/acmeca/acmeca/internal/test/container"
	"github.com/acmeca/acmeca/internal/test/process"
)

// Half is a process with a memory limit.
type Half struct {
	*container.Container
	Process *process.Process
}

// startHalf starts a process of a half, within the memory limit of the manifests if Options.Contained is set.
func (l *Local) startHalf(half string, spec process.Spec) (*process.Process, error) {
	if !l.options.Contained {
		return process.Start(spec)
	}
	within, err := container.New(half)
	if err != nil {
		return nil, err
	}
	p, err := within.Start(spec)
	if err != nil {
		within.Close()
		return nil, err
	}
	go func() {
		<-p.Done()
		within.Close()
	}()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.contained = append(l.contained, &Half{within, p})
	return p, nil
}

// Halves returns the processes with a memory limit, also those that have ended.
func (l *Local) Halves() []*Half {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.contained)
}
