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

// measureOther runs the loads by which servers are compared on another server.
func (b *bench) measureOther(ctx context.Context) error {
	var err error
	if b.target.roots, err = readRoots(b.options.ca); err != nil {
		return err
	}
	b.target.responder.Keep = true // some fetch an answer several times
	stopDNS, err := local.StartDNS(b.options.dns)
	if err != nil {
		return err
	}
	defer stopDNS()
	server, err := b.target.responder.Serve(b.options.http01)
	if err != nil {
		return err
	}
	defer server.Close()
	for _, do := range []task{one, some, most, manyNames} {
		// What it did before a load that it doesn't stand still counts.
		if err := b.loads(ctx, do); err != nil {
			fmt.Fprintln(b.out, err)
		}
	}
	if len(b.report.Loads) == 0 {
		return errors.New("no load ran to its end")
	}
	return ctx.Err()
}

// used counts what is used from now on, by whatever is measured; the result counts up to when it is called.
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

// otherTotal is the processor time of another server and of the clients.
func (b *bench) otherTotal() (u usage, err error) {
	if b.options.pid != 0 {
		if u.operator, err = processorTime(b.options.pid); err != nil {
			return u, err
		}
	}
	u.self, err = processorTime(os.Getpid())
	return u, err
}

// besides are reports of other servers, by name, as flags name them.
type besides []string

func (s *besides) String() string { return strings.Join(*s, " ") }

// Set implements flag.Value.
func (s *besides) Set(text string) error {
	if name, file, ok := strings.Cut(text, "="); !ok || name == "" || file == "" {
		return errors.New("it has to be name=file")
	}
	*s = append(*s, text)
	return nil
}

// into puts the loads of other servers into a report.
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
