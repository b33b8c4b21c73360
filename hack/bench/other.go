package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/acmeca/acmeca/internal/test/local"
)

// measureOther runs the loads for comparison on another server.
func (b *bench) measureOther(ctx context.Context) error {
	var err error
	if b.target.roots, err = readRoots(b.options.ca); err != nil {
		return err
	}
	b.target.responder.Once = false // some servers fetch an answer several times
	stopDNS, err := local.StartDNS(b.options.dns)
	if err != nil {
		return err
	}
	defer stopDNS()
	if err := b.target.responder.Listen(b.options.http01); err != nil {
		return err
	}
	defer b.target.responder.Stop()
	for _, do := range []task{one, some, most, manyNames} {
		// The loads before a failed load still count.
		if err := b.loads(ctx, do); err != nil {
			fmt.Fprintln(b.out, err)
		}
	}
	if len(b.report.Loads) == 0 {
		return errors.New("no load was completed")
	}
	return ctx.Err()
}

// used starts counting usage. The returned function returns the usage until its call.
func (b *bench) used(ctx context.Context) func() (usage, error) {
	if b.plane != nil {
		return b.plane.measure(ctx)
	}
	before, beforeErr := b.otherTotal()
	return func() (usage, error) {
		after, err := b.otherTotal()
		return usage{operator: after.operator - before.operator, self: after.self - before.self}, errors.Join(beforeErr, err)
	}
}

// otherTotal returns the processor time of another server and of the clients.
func (b *bench) otherTotal() (u usage, err error) {
	if b.options.pid != 0 {
		if u.operator, err = processorTime(b.options.pid); err != nil {
			return u, err
		}
	}
	u.self, err = processorTime(os.Getpid())
	return u, err
}

// besides are the reports of other servers, by name, as the flags name them.
type besides []string

func (s *besides) String() string { return strings.Join(*s, " ") }

// Set implements flag.Value.
func (s *besides) Set(text string) error {
	if name, file, ok := strings.Cut(text, "="); !ok || name == "" || file == "" {
		return errors.New("the value must be name=file")
	}
	*s = append(*s, text)
	return nil
}

// into adds the loads of other servers to a report.
func (s besides) into(r *Report) error {
	for _, text := range s {
		name, file, _ := strings.Cut(text, "=")
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var other Report
		if err := json.Unmarshal(data, &other); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		r.Beside = append(r.Beside, Beside{Name: name, Loads: other.Loads})
	}
	return nil
}
