package ca

import (
	"crypto/x509"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/acmeca/acmeca/api/acme"
)

func TestNewProfile(t *testing.T) {
	for _, test := range []struct {
		name string
		edit func(*ProfileConfig)
		want string
	}{
		{"good", func(*ProfileConfig) {}, ""},
		{"shortest", func(c *ProfileConfig) { c.Lifetime, c.Backdate = time.Minute, 59*time.Second }, ""},
		{"no backdate", func(c *ProfileConfig) { c.Backdate = 0 }, ""},
		{"longer maximum", func(c *ProfileConfig) { c.MaxLifetime = 200 * day }, ""},
		{"no name", func(c *ProfileConfig) { c.Name = "" }, "name: "},
		{"no lifetime", func(c *ProfileConfig) { c.Lifetime = 0 }, "lifetime: 0s is below 1m0s"},
		{"negative lifetime", func(c *ProfileConfig) { c.Lifetime = -day }, "lifetime: "},
		{"fractions", func(c *ProfileConfig) { c.Lifetime = day + time.Millisecond }, "lifetime: "},
		{"maximum below", func(c *ProfileConfig) { c.MaxLifetime = day }, "maxLifetime: 24h0m0s is below lifetime, which is 2160h0m0s"},
		{"negative backdate", func(c *ProfileConfig) { c.Backdate = -1 }, "backdate: "},
		{"backdate eats lifetime", func(c *ProfileConfig) { c.Lifetime, c.Backdate = time.Hour, time.Hour }, "backdate: 1h0m0s leaves nothing"},
		{"foreign usage", func(c *ProfileConfig) { c.ExtKeyUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }, "usages: only"},
		{"usage twice", func(c *ProfileConfig) { c.ExtKeyUsages = []x509.ExtKeyUsage{1, 1} }, "usages: the same"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := ProfileConfig{Name: "default", Lifetime: 90 * day, Backdate: time.Hour}
			test.edit(&c)
			p, err := NewProfile(c)
			wantError(t, err, test.want)
			if (p == nil) != (err != nil) {
				t.Errorf("got %v with error %v", p, err)
			}
			if p != nil && p.Name() != "default" {
				t.Errorf("name %q", p.Name())
			}
		})
	}
	for lifetime, want := range map[time.Duration]time.Duration{
		90 * day: time.Hour, time.Hour: 5 * time.Minute, time.Minute: 5 * time.Second, 100 * time.Second: 8 * time.Second,
	} {
		if got := DefaultBackdate(lifetime); got != want {
			t.Errorf("backdate of %v is %v, want %v", lifetime, got, want)
		}
	}
}

func TestValidity(t *testing.T) {
	at := func(d time.Duration) time.Time { return testNow.Add(d) }
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
		{"from when it was ordered", at(-day), at(0), at(-day - 30*time.Minute), never, at(-day - 30*time.Minute), at(89*day - 30*time.Minute - time.Second), ""},
		{"both", at(0), at(0), at(time.Hour), at(2 * time.Hour), at(time.Hour), at(2 * time.Hour), ""},
		{"both in another zone", at(0), at(0), at(time.Hour).In(time.FixedZone("x", 3600)), at(2 * time.Hour), at(time.Hour), at(2 * time.Hour), ""},
		{"one second", at(0), at(0), at(0), at(0), at(0), at(0), ""},

		{"too long", at(0), at(0), never, at(100*day + time.Hour), never, never, `longer than profile "default" allows, which is 2400h`},
		{"too long from a later start", at(0), at(0), at(time.Hour), at(100*day + 2*time.Hour), never, never, "longer than profile"},
		{"start too far ahead", at(0), at(0), at(99 * day), never, never, never, "longer than profile"},
		{"start before the order", at(-day), at(0), at(-2 * day), never, never, never, "notBefore 2026-06-29T12:00:00Z is in the past"},
		{"end in the past", at(-day), at(0), never, at(-time.Second), never, never, "notAfter 2026-07-01T11:59:59Z is in the past"},
		{"end before start", at(0), at(0), at(2 * day), at(day), never, never, "is before notBefore"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := testProfile(func(c *ProfileConfig) { c.MaxLifetime = 100 * day })
			from, to, problem := p.validity(test.ordered, test.finalized, test.notBefore, test.notAfter)
			if test.want != "" {
				if problem == nil || problem.Type != acme.Malformed {
					t.Fatalf("got %v to %v and %v", from, to, problem)
				}
				wantError(t, problem, test.want)
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
	if problem := testProfile().CheckValidity(testNow, never, at(day)); problem != nil {
		t.Error(problem)
	}
	if testProfile().CheckValidity(testNow, never, at(91*day)) == nil {
		t.Error("an order for longer than the profile allows is accepted")
	}
}

// Whatever is asked, a certificate is never longer than the profile allows, is valid at some time, and has what was asked.
func TestValidityBounds(t *testing.T) {
	seconds := rapid.Int64Range(-1000000, 1000000)
	duration := rapid.Custom(func(t *rapid.T) time.Duration { return time.Duration(seconds.Draw(t, "seconds")) * time.Second })
	asked := rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.Bool().Draw(t, "not asked") {
			return time.Time{}
		}
		return testNow.Add(duration.Draw(t, "offset"))
	})
	rapid.Check(t, func(t *rapid.T) {
		lifetime := time.Duration(rapid.Int64Range(60, 1000000).Draw(t, "lifetime")) * time.Second
		config := ProfileConfig{Name: "x", Lifetime: lifetime, Backdate: DefaultBackdate(lifetime),
			MaxLifetime: lifetime + time.Duration(rapid.Int64Range(0, 1000000).Draw(t, "more"))*time.Second}
		ordered := testNow.Add(-time.Duration(rapid.Int64Range(0, 1000000).Draw(t, "age")) * time.Second)
		notBefore, notAfter := asked.Draw(t, "notBefore"), asked.Draw(t, "notAfter")
		from, to, problem := must(NewProfile(config)).validity(ordered, testNow, notBefore, notAfter)
		if problem != nil {
			if notBefore.IsZero() && notAfter.IsZero() {
				t.Fatal(problem)
			}
			return
		}
		if length := to.Sub(from) + time.Second; length <= 0 || length > config.MaxLifetime+clockSkew+time.Second {
			t.Fatalf("%v to %v is %v", from, to, length)
		}
		if to.Before(testNow) || !notBefore.IsZero() && !from.Equal(notBefore) || !notAfter.IsZero() && !to.Equal(notAfter) {
			t.Fatalf("%v to %v", from, to)
		}
		if notBefore.IsZero() && notAfter.IsZero() && to.Sub(from)+time.Second != lifetime {
			t.Fatalf("%v to %v is not %v", from, to, lifetime)
		}
	})
}
