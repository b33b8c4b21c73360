package pki

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/acmeca/acmeca/api/acme"
)

const day = 24 * time.Hour

var now = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func TestDefaultBackdate(t *testing.T) {
	for lifetime, want := range map[time.Duration]time.Duration{
		90 * day: time.Hour, time.Hour: 5 * time.Minute, time.Minute: 5 * time.Second, 100 * time.Second: 8 * time.Second,
	} {
		if got := DefaultBackdate(lifetime); got != want {
			t.Errorf("backdate of %v is %v, want %v", lifetime, got, want)
		}
	}
}

func TestPeriod(t *testing.T) {
	at := func(d time.Duration) time.Time { return now.Add(d) }
	never := time.Time{}
	for _, test := range []struct {
		name               string
		ordered, finalized time.Time
		notBefore          time.Time
		notAfter           time.Time
		from, to           time.Time
		want               string
	}{
		{"nothing asked", at(-day), at(0), never, never, at(-time.Hour), at(90*day - time.Hour - time.Second), ""},
		{"fractions are cut", at(0), at(999 * time.Millisecond), never, never, at(-time.Hour), at(90*day - time.Hour - time.Second), ""},
		{"shorter", at(0), at(0), never, at(day), at(-time.Hour), at(day), ""},
		{"longest from now, less backdated", at(-time.Second), at(0), never, at(100*day - time.Minute), at(-time.Minute), at(100*day - time.Minute), ""},
		{"longest by a clock that is ahead", at(0), at(0), never, at(100*day + 30*time.Second), at(0), at(100*day + 30*time.Second), ""},
		{"from a day on", at(0), at(0), at(day), never, at(day), at(91*day - time.Second), ""},
		{"from so late that the end comes first", at(0), at(0), at(99 * day), never, at(99 * day), at(100 * day), ""},
		{"from when it was ordered", at(-day), at(0), at(-day - 30*time.Minute), never, at(-day - 30*time.Minute), at(89*day - 30*time.Minute - time.Second), ""},
		{"both", at(0), at(0), at(time.Hour), at(2 * time.Hour), at(time.Hour), at(2 * time.Hour), ""},
		{"both in another zone", at(0), at(0), at(time.Hour).In(time.FixedZone("x", 3600)), at(2 * time.Hour), at(time.Hour), at(2 * time.Hour), ""},
		{"one second", at(0), at(0), at(0), at(0), at(0), at(0), ""},

		{"too long", at(0), at(0), never, at(100*day + time.Hour), never, never, `exceeds the longest lifetime of profile "default", which is 2400h`},
		{"too long from a later start", at(0), at(0), at(time.Hour), at(100*day + 2*time.Hour), never, never, "exceeds the longest lifetime of profile"},
		{"start too far ahead", at(0), at(0), at(100*day + time.Second), never, never, never, "further in the future"},
		{"start before the order", at(-day), at(0), at(-2 * day), never, never, never, "notBefore 2026-06-29T12:00:00Z is in the past"},
		{"end in the past", at(-day), at(0), never, at(-time.Second), never, never, "notAfter 2026-07-01T11:59:59Z is in the past"},
		{"end before start", at(0), at(0), at(2 * day), at(day), never, never, "is before notBefore"},
	} {
		t.Run(test.name, func(t *testing.T) {
			bounds := ValidityBounds{Profile: "default", Lifetime: 90 * day, MaxLifetime: 100 * day, Backdate: time.Hour}
			from, to, problem := bounds.Period(OrderTimes{test.ordered, test.finalized, test.notBefore, test.notAfter})
			if test.want != "" {
				if problem == nil || problem.Type != acme.Malformed {
					t.Fatalf("got %v to %v and %v", from, to, problem)
				}
				if !strings.Contains(problem.Error(), test.want) {
					t.Errorf("got %q, want %q", problem, test.want)
				}
				return
			}
			if problem != nil {
				t.Fatal(problem)
			}
			if !from.Equal(test.from) || !to.Equal(test.to) || from.Location() != time.UTC || to.Location() != time.UTC {
				t.Errorf("got %v to %v, want %v to %v", from, to, test.from, test.to)
			}
		})
	}
}

// For every request, a certificate is not longer than the profile allows, is valid at some time, and has the requested bounds.
func TestPeriodIsBounded(t *testing.T) {
	seconds := rapid.Int64Range(-1000000, 1000000)
	duration := rapid.Custom(func(t *rapid.T) time.Duration { return time.Duration(seconds.Draw(t, "seconds")) * time.Second })
	asked := rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.Bool().Draw(t, "not asked") {
			return time.Time{}
		}
		return now.Add(duration.Draw(t, "offset"))
	})
	rapid.Check(t, func(t *rapid.T) {
		lifetime := time.Duration(rapid.Int64Range(60, 1000000).Draw(t, "lifetime")) * time.Second
		bounds := ValidityBounds{Profile: "x", Lifetime: lifetime, Backdate: DefaultBackdate(lifetime),
			MaxLifetime: lifetime + time.Duration(rapid.Int64Range(0, 1000000).Draw(t, "more"))*time.Second}
		ordered := now.Add(-time.Duration(rapid.Int64Range(0, 1000000).Draw(t, "age")) * time.Second)
		notBefore, notAfter := asked.Draw(t, "notBefore"), asked.Draw(t, "notAfter")
		from, to, problem := bounds.Period(OrderTimes{ordered, now, notBefore, notAfter})
		if problem != nil {
			if notBefore.IsZero() && notAfter.IsZero() {
				t.Fatal(problem)
			}
			return
		}
		if length := to.Sub(from) + time.Second; length <= 0 || length > bounds.MaxLifetime+ClockSkew+time.Second {
			t.Fatalf("%v to %v is %v", from, to, length)
		}
		if to.Before(now) || !notBefore.IsZero() && !from.Equal(notBefore) || !notAfter.IsZero() && !to.Equal(notAfter) {
			t.Fatalf("%v to %v", from, to)
		}
		if to.After(now.Add(bounds.MaxLifetime + ClockSkew)) {
			t.Fatalf("%v is longer from now than any certificate", to)
		}
		if notBefore.IsZero() && notAfter.IsZero() && to.Sub(from)+time.Second != lifetime {
			t.Fatalf("%v to %v is not %v", from, to, lifetime)
		}
	})
}

// A validity that is accepted for an order stays acceptable until the order expires. Otherwise finalize would fail.
func TestWhatIsOrderedIsIssued(t *testing.T) {
	asked := rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.Bool().Draw(t, "not asked") {
			return time.Time{}
		}
		return now.Add(time.Duration(rapid.Int64Range(-10000, 400000).Draw(t, "offset")) * time.Second)
	})
	rapid.Check(t, func(t *rapid.T) {
		lifetime := time.Duration(rapid.Int64Range(60, 200000).Draw(t, "lifetime")) * time.Second
		bounds := ValidityBounds{Profile: "x", Lifetime: lifetime, MaxLifetime: 2 * lifetime, Backdate: DefaultBackdate(lifetime)}
		times := OrderTimes{now, now, asked.Draw(t, "notBefore"), asked.Draw(t, "notAfter")}
		if _, _, problem := bounds.Period(times); problem != nil {
			return
		}
		times.Finalized = now.Add(time.Duration(rapid.Int64Range(0, 500000).Draw(t, "later")) * time.Second)
		if !times.NotAfter.IsZero() && times.NotAfter.Before(times.Finalized) {
			return // it was left lying
		}
		from, to, problem := bounds.Period(times)
		overslept := times.NotAfter.IsZero() && !times.NotBefore.IsZero() && LastSecond(times.NotBefore, lifetime).Before(times.Finalized)
		if problem != nil && !overslept {
			t.Fatalf("%v: %v to %v: %v", times, from, to, problem)
		}
	})
}
