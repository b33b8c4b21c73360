package validation

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/acmeca/acmeca/api/acme"
)

// Checker checks challenges and CAA from one place of the network, or from several.
type Checker interface {
	// Validate makes one attempt at a challenge, and checks CAA if the challenge succeeds.
	Validate(context.Context, Request) Result
	// CheckCAA checks CAA records alone.
	CheckCAA(context.Context, Request) Result
}

// Perspective is a Checker at another place of the network.
type Perspective struct {
	// Name of the perspective in records and problems.
	Name string
	Checker
}

// Corroboration checks from several places at once, so that an attacker who controls routes or DNS near one of them proves
// nothing.
type Corroboration struct {
	local   Checker
	remote  []Perspective
	quorum  int
	timeout time.Duration
}

// Corroborate returns a Checker that succeeds if local, unless it is nil, and at least quorum remote perspectives succeed. A check
// takes at most the timeout. Corroborate returns an error for a quorum out of bounds, or if nothing would be checked.
func Corroborate(local Checker, remote []Perspective, quorum int, timeout time.Duration) (*Corroboration, error) {
	switch {
	case quorum < 0 || quorum > len(remote):
		return nil, fmt.Errorf("quorum is %d, with %d perspectives", quorum, len(remote))
	case local == nil && quorum == 0:
		return nil, fmt.Errorf("nothing is checked: there is no local validation, and the quorum is 0")
	}
	return &Corroboration{local: local, remote: slices.Clone(remote), quorum: quorum, timeout: timeout}, nil
}

// Validate implements Checker.
func (c *Corroboration) Validate(ctx context.Context, req Request) Result {
	return c.run(ctx, func(ctx context.Context, from Checker) Result { return from.Validate(ctx, req) })
}

// CheckCAA implements Checker.
func (c *Corroboration) CheckCAA(ctx context.Context, req Request) Result {
	return c.run(ctx, func(ctx context.Context, from Checker) Result { return from.CheckCAA(ctx, req) })
}

// finding is the result of one place; place is the perspective's index, or -1 for the local one.
type finding struct {
	place  int
	result Result
}

func (c *Corroboration) run(ctx context.Context, check func(context.Context, Checker) Result) Result {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel() // also ends the checks that run does not wait for
	findings := make(chan finding, len(c.remote)+1)
	ask := func(place int, from Checker) {
		findings <- finding{place, guarded(func() Result { return check(ctx, from) })}
	}
	t := tally{Corroboration: c, remote: make([]*Result, len(c.remote))}
	asked := len(c.remote)
	for i, p := range c.remote {
		go ask(i, p)
	}
	if c.local != nil {
		asked++
		go ask(-1, c.local)
	}
	for range asked {
		switch f := <-findings; f.place {
		case -1:
			t.local = &f.result
		default:
			t.remote[f.place] = &f.result
		}
		if t.proven() {
			return t.conclude() // without waiting for slow perspectives
		}
	}
	return t.conclude()
}

// tally holds the results so far; nil for those that are missing.
type tally struct {
	*Corroboration
	local  *Result
	remote []*Result
}

// proven reports whether the results so far suffice. Only Result.Valid counts.
func (t *tally) proven() bool {
	return t.holds(func(r *Result) bool { return r != nil && r.Valid })
}

// retriable reports whether the results would suffice if every missing result and transient failure became a success.
func (t *tally) retriable() bool {
	return t.holds(func(r *Result) bool { return r == nil || r.Valid || r.Transient })
}

func (t *tally) holds(counts func(*Result) bool) bool {
	if t.Corroboration.local != nil && !counts(t.local) {
		return false
	}
	return t.count(counts) >= t.quorum
}

func (t *tally) count(counts func(*Result) bool) int {
	n := 0
	for _, r := range t.remote {
		if counts(r) {
			n++
		}
	}
	return n
}

func (t *tally) conclude() Result {
	result := Result{Valid: t.proven()}
	if result.Valid {
		result.Until = t.until()
	} else {
		result.Problem, result.Transient = t.problem(), t.retriable()
	}
	if from := t.representative(); from != nil {
		result.Record = from.Record
	}
	result.Record.Perspectives = nil
	for i, r := range t.remote {
		if r != nil {
			result.Record.Perspectives = append(result.Record.Perspectives, perspectiveRecord(t.Corroboration.remote[i].Name, r))
		}
	}
	return result
}

// until returns the earliest expiry of the successful proofs, or zero if none expires.
func (t *tally) until() time.Time {
	var first time.Time
	for _, r := range append([]*Result{t.local}, t.remote...) {
		if r != nil && r.Valid && !r.Until.IsZero() && (first.IsZero() || r.Until.Before(first)) {
			first = r.Until
		}
	}
	return first
}

// representative returns the result whose record is the record of the whole check: the local one, otherwise the first one with
// the same outcome.
func (t *tally) representative() *Result {
	if t.local != nil {
		return t.local
	}
	proven := t.proven()
	for _, r := range t.remote {
		if r != nil && r.Valid == proven {
			return r
		}
	}
	return nil
}

// problem returns the problem of a check that failed. A final failure takes precedence over a transient one.
func (t *tally) problem() *acme.Problem {
	if t.local != nil && !t.local.Valid {
		return orUnforeseen(t.local.Problem)
	}
	var from Perspective
	var told *Result
	for i, r := range t.remote {
		if r != nil && !r.Valid && (told == nil || told.Transient && !r.Transient) {
			from, told = t.Corroboration.remote[i], r
		}
	}
	if told == nil {
		return orUnforeseen(nil)
	}
	problem := orUnforeseen(told.Problem)
	confirmed := t.count(func(r *Result) bool { return r != nil && r.Valid })
	return acme.NewProblem(problem.Type, "confirmed from %d of %d perspectives, %d are needed; from %q: %s",
		confirmed, len(t.remote), t.quorum, from.Name, problem.Detail)
}

// orUnforeseen returns p, or a problem if p is nil.
func orUnforeseen(p *acme.Problem) *acme.Problem {
	if p == nil {
		return acme.NewProblem(acme.ServerInternal, "the validation ended without a verdict")
	}
	return p
}

// maxPerspectiveProblem bounds a perspective's problem in a record, in bytes.
const maxPerspectiveProblem = 512

func perspectiveRecord(name string, r *Result) PerspectiveRecord {
	record := PerspectiveRecord{
		Name: name, Valid: r.Valid, DurationMillis: r.Record.DurationMillis,
		Resolver: r.Record.Resolver, AuthoritativeServer: r.Record.AuthoritativeServer,
		Addresses: r.Record.Addresses, AddressUsed: r.Record.AddressUsed,
	}
	if !r.Valid {
		record.Problem = orUnforeseen(r.Problem).Error()
		if r.Cause != "" {
			record.Problem += ": " + r.Cause
		}
		record.Problem = acme.Printable(record.Problem, maxPerspectiveProblem)
	}
	return record
}
