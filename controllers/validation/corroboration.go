package validation

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/acmeca/acmeca/api/acme"
)

// Checker checks as a Validator does, from where it is.
type Checker interface {
	// Validate makes one attempt at a challenge, and checks CAA.
	Validate(context.Context, Request) Result
	// CheckCAA checks CAA records alone.
	CheckCAA(context.Context, Request) Result
}

// Perspective is a Checker at another place of the network.
type Perspective struct {
	// Name by which records and problems tell of it.
	Name string
	Checker
}

// Corroboration checks from several places at once, so that who has taken over the routes or the DNS near one of them
// proves nothing.
type Corroboration struct {
	local   Checker
	remote  []Perspective
	quorum  int
	timeout time.Duration
}

// Corroborate makes a Checker that takes for proven what local finds so, unless that is nil, and at least quorum of the
// remote perspectives. All of it takes no longer than the timeout.
func Corroborate(local Checker, remote []Perspective, quorum int, timeout time.Duration) (*Corroboration, error) {
	switch {
	case quorum < 0 || quorum > len(remote):
		return nil, fmt.Errorf("quorum is %d, of %d perspectives", quorum, len(remote))
	case local == nil && quorum == 0:
		return nil, fmt.Errorf("nobody is asked: no local validation, and no perspective is needed")
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

// opinion is what came back from one place; place is -1 for here, or the perspective's index.
type opinion struct {
	place  int
	result Result
}

func (c *Corroboration) run(ctx context.Context, check func(context.Context, Checker) Result) Result {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel() // also calls off those that aren't waited for
	opinions := make(chan opinion, len(c.remote)+1)
	ask := func(place int, from Checker) { opinions <- opinion{place, check(ctx, from)} }
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
		switch o := <-opinions; o.place {
		case -1:
			t.local = &o.result
		default:
			t.remote[o.place] = &o.result
		}
		if t.proven() {
			return t.conclude() // who is slow now delays nobody
		}
	}
	return t.conclude()
}

// tally is what has come back so far; nil where nothing has.
type tally struct {
	*Corroboration
	local  *Result
	remote []*Result
}

// proven reports whether what has come back is enough. A Result counts by its Valid alone.
func (t *tally) proven() bool {
	return t.holds(func(r *Result) bool { return r != nil && r.Valid })
}

// hopeful reports whether it would be enough if everything that may get better by itself did.
func (t *tally) hopeful() bool {
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
		result.Problem, result.Transient = t.problem(), t.hopeful()
	}
	if from := t.telling(); from != nil {
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

// until is when the first of the proofs that made the outcome ceases to count.
func (t *tally) until() time.Time {
	var first time.Time
	for _, r := range append([]*Result{t.local}, t.remote...) {
		if r != nil && r.Valid && !r.Until.IsZero() && (first.IsZero() || r.Until.Before(first)) {
			first = r.Until
		}
	}
	return first
}

// telling is the result whose record stands for the whole: the local one, else the first that decided the outcome.
func (t *tally) telling() *Result {
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

// problem says what kept the proof from being enough. What failed for good is told before what may pass.
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

func orUnforeseen(p *acme.Problem) *acme.Problem {
	if p == nil {
		return acme.NewProblem(acme.ServerInternal, "the validation ended without a verdict")
	}
	return p
}

// maxPerspectiveProblem bounds what a record tells of a perspective's problem, in bytes.
const maxPerspectiveProblem = 512

func perspectiveRecord(name string, r *Result) PerspectiveRecord {
	record := PerspectiveRecord{
		Name: name, Valid: r.Valid, DurationMillis: r.Record.DurationMillis,
		Resolver: r.Record.Resolver, Addresses: r.Record.Addresses, AddressUsed: r.Record.AddressUsed,
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
