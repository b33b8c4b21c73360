package validation

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/acmeca/acmeca/api/acme"
)

// fixed is a Checker that returns a fixed result after a delay.
type fixed struct {
	result Result
	after  time.Duration
}

func (f fixed) Validate(ctx context.Context, _ Request) Result {
	select {
	case <-time.After(f.after):
		return f.result
	case <-ctx.Done():
		return Result{Problem: acme.NewProblem(acme.Connection, "cancelled"), Transient: true}
	}
}

func (f fixed) CheckCAA(ctx context.Context, r Request) Result { return f.Validate(ctx, r) }

var (
	yes      = Result{Valid: true, Record: Record{AddressUsed: "192.0.2.1:80"}}
	no       = Result{Problem: acme.NewProblem(acme.IncorrectResponse, "something else")}
	hopeless = Result{}
	later    = Result{Problem: acme.NewProblem(acme.Connection, "timed out"), Transient: true}
)

func perspectives(results ...Result) []Perspective {
	var out []Perspective
	for i, r := range results {
		out = append(out, Perspective{string(rune('a' + i)), fixed{result: r}})
	}
	return out
}

type broken struct{}

func (broken) Validate(context.Context, Request) Result { panic("boom") }
func (broken) CheckCAA(context.Context, Request) Result { panic("boom") }

// A panic at one place is the failure of that place.
func TestCorroborationSurvivesAPanic(t *testing.T) {
	c, err := Corroborate(broken{}, append(perspectives(yes), Perspective{"broken", broken{}}), 1, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for _, result := range []Result{c.Validate(t.Context(), Request{}), c.CheckCAA(t.Context(), Request{})} {
		expectation{problem: acme.ServerInternal, detail: "failed unexpectedly"}.check(t, result)
	}
}

func TestCorroboration(t *testing.T) {
	for name, c := range map[string]struct {
		local  *Result
		remote []Result
		quorum int
		want   expectation
	}{
		"all":                               {&yes, []Result{yes, yes}, 2, expectation{}},
		"local alone":                       {&yes, nil, 0, expectation{}},
		"a quorum":                          {&yes, []Result{yes, no, yes}, 2, expectation{}},
		"a quorum, one away":                {&yes, []Result{later, yes, yes}, 2, expectation{}},
		"without local":                     {nil, []Result{yes}, 1, expectation{}},
		"without local, a quorum":           {nil, []Result{no, yes}, 1, expectation{}},
		"local fails":                       {&no, []Result{yes, yes}, 2, expectation{problem: acme.IncorrectResponse, detail: "something else"}},
		"local fails for now":               {&later, []Result{yes, yes}, 2, expectation{problem: acme.Connection, transient: true, detail: "timed out"}},
		"local fails for now, one for ever": {&later, []Result{yes, no}, 2, expectation{problem: acme.Connection}},
		"one fails":                         {&yes, []Result{yes, no}, 2, expectation{problem: acme.IncorrectResponse, detail: `confirmed from 1 of 2 perspectives, 2 are needed; from "b": something else`}},
		"one fails for now":                 {&yes, []Result{yes, later}, 2, expectation{problem: acme.Connection, transient: true, detail: `from "b": timed out`}},
		"for now, with one to spare":        {&yes, []Result{yes, later, no}, 2, expectation{problem: acme.IncorrectResponse, transient: true, detail: `from "c"`}},
		"for ever and for now":              {&yes, []Result{later, no}, 2, expectation{problem: acme.IncorrectResponse, detail: `from "b": something else`}},
		"all fail":                          {nil, []Result{no, no}, 1, expectation{problem: acme.IncorrectResponse, detail: `from "a"`}},
		"no verdict":                        {&hopeless, []Result{yes}, 1, expectation{problem: acme.ServerInternal}},
		"no verdict from elsewhere":         {&yes, []Result{hopeless}, 1, expectation{problem: acme.ServerInternal, detail: "without a verdict"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var local Checker
				if c.local != nil {
					local = fixed{result: *c.local}
				}
				checker, err := Corroborate(local, perspectives(c.remote...), c.quorum, time.Minute)
				if err != nil {
					t.Fatal(err)
				}
				c.want.check(t, checker.Validate(t.Context(), Request{}))
				c.want.check(t, checker.CheckCAA(t.Context(), Request{}))
			})
		})
	}
}

func TestCorroborateRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		local  Checker
		remote []Perspective
		quorum int
	}{
		"more than there are": {fixed{}, perspectives(yes), 2},
		"a negative quorum":   {fixed{}, perspectives(yes), -1},
		"nobody":              {nil, nil, 0},
		"nobody needed":       {nil, perspectives(yes), 0},
	} {
		if _, err := Corroborate(c.local, c.remote, c.quorum, time.Minute); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// Once there are enough results, slow perspectives cause no delay.
func TestCorroborationDoesntWaitForMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		remote := []Perspective{{"hole", fixed{yes, time.Hour}}, {"near", fixed{yes, time.Second}}, {"far", fixed{yes, 2 * time.Second}}}
		checker, err := Corroborate(fixed{result: yes}, remote, 2, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		got := checker.Validate(t.Context(), Request{})
		if took := time.Since(begun); !got.Valid || took != 2*time.Second {
			t.Errorf("valid: %v, after %v", got.Valid, took)
		}
		if names := names(got.Record); names != "near+ far+" {
			t.Errorf("told of %q", names)
		}
		synctest.Wait() // the slow one is called off, or the bubble never ends
	})
}

func TestCorroborationTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		checker, err := Corroborate(fixed{result: yes}, []Perspective{{"hole", fixed{yes, time.Hour}}}, 1, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		expectation{problem: acme.Connection, transient: true, detail: `from "hole"`}.check(t, checker.Validate(t.Context(), Request{}))
		if took := time.Since(begun); took != time.Minute {
			t.Errorf("after %v", took)
		}
	})
}

func names(r Record) string {
	var out []string
	for _, p := range r.Perspectives {
		sign := "-"
		if p.Valid {
			sign = "+"
		}
		out = append(out, p.Name+sign)
	}
	return strings.Join(out, " ")
}

func TestCorroborationRecord(t *testing.T) {
	remote := perspectives(
		Result{Valid: true, Record: Record{DurationMillis: 7, Resolver: "192.0.2.53:53", Addresses: []string{"192.0.2.2"}, AddressUsed: "192.0.2.2:80"}},
		Result{Problem: acme.NewProblem(acme.DNSProblem, "%s", strings.Repeat("x", 2000)), Record: Record{Perspectives: []PerspectiveRecord{{Name: "forged"}}}},
	)
	local := yes
	local.Record.Perspectives = []PerspectiveRecord{{Name: "forged"}}
	for name, local := range map[string]Checker{"local": fixed{result: local}, "remote": nil} {
		checker, err := Corroborate(local, remote, 2, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		got := checker.Validate(t.Context(), Request{}).Record
		if len(got.Perspectives) != 2 || names(got) != "a+ b-" {
			t.Fatalf("%s: got %+v", name, got)
		}
		a, b := got.Perspectives[0], got.Perspectives[1]
		if a.DurationMillis != 7 || a.Resolver == "" || len(a.Addresses) != 1 || a.AddressUsed == "" || a.Problem != "" {
			t.Errorf("%s: got %+v", name, a)
		}
		if len(b.Problem) != maxPerspectiveProblem || !strings.HasPrefix(b.Problem, "dns: xxx") {
			t.Errorf("%s: got %+v", name, b)
		}
		if name == "local" && got.AddressUsed != yes.Record.AddressUsed {
			t.Errorf("the record isn't the local one: %+v", got)
		}
	}
}

// A proof expires with the first of the proofs that count.
func TestCorroborationUntil(t *testing.T) {
	at := func(hour int) Result {
		return Result{Valid: true, Until: time.Date(2026, 1, 1, hour, 0, 0, 0, time.UTC)}
	}
	checker, err := Corroborate(fixed{result: at(5)}, perspectives(at(4), at(3), yes), 3, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if got := checker.Validate(t.Context(), Request{}).Until; !got.Equal(at(3).Until) {
		t.Errorf("until %v", got)
	}
}

// A success needs enough explicit successes, and every other outcome has a problem.
func TestCorroborationNeverGuesses(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		kinds := []Result{yes, no, later, hopeless}
		draw := func(label string) Result { return rapid.SampledFrom(kinds).Draw(rt, label) }
		n := rapid.IntRange(1, 5).Draw(rt, "perspectives")
		var results []Result
		valid := 0
		for range n {
			r := draw("remote")
			results = append(results, r)
			if r.Valid {
				valid++
			}
		}
		quorum := rapid.IntRange(1, n).Draw(rt, "quorum")
		var local Checker
		want := valid >= quorum
		if rapid.Bool().Draw(rt, "local") {
			r := draw("here")
			local, want = fixed{result: r}, want && r.Valid
		}
		checker, err := Corroborate(local, perspectives(results...), quorum, time.Minute)
		if err != nil {
			rt.Fatal(err)
		}
		got := checker.Validate(context.Background(), Request{})
		if got.Valid != want || got.Valid == (got.Problem != nil) || got.Valid && got.Transient {
			rt.Fatalf("got %+v, want valid: %v", got, want)
		}
	})
}

func TestWithCAA(t *testing.T) {
	w := newWorld(t, `a.test. CAA 0 issue "other.test"`)
	w.config.CAA, w.config.CAAIdentities = true, []string{"ca.test"}
	v := w.validator()
	other, err := v.WithCAA(true, []string{"other.test."})
	if err != nil {
		t.Fatal(err)
	}
	off, err := v.WithCAA(false, nil)
	if err != nil {
		t.Fatal(err)
	}
	request := dnsRequest(acme.DNS01, "a.test")
	expectation{problem: acme.CAA}.check(t, v.CheckCAA(t.Context(), request))
	expectation{}.check(t, other.CheckCAA(t.Context(), request))
	expectation{}.check(t, off.CheckCAA(t.Context(), request))
	if _, err := v.WithCAA(true, []string{"no name"}); err == nil {
		t.Error("taken")
	}
}
