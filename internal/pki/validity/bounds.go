package validity

import (
	"time"

	"github.com/acmeca/acmeca/api/acme"
)

// Bounds are what a profile says of how long its certificates are valid.
type Bounds struct {
	// Profile by its name, for messages.
	Profile string
	// Lifetime of a certificate when the client asks for none, both ends included; whole seconds.
	Lifetime time.Duration
	// MaxLifetime bounds what a client may ask for; zero stands for Lifetime.
	MaxLifetime time.Duration
	// Backdate is how long before the client's finalize request validity starts, for clocks that are behind.
	Backdate time.Duration
}

// Times that an order goes by.
type Times struct {
	// Ordered and Finalized are when the order came and when the client finalized it; the same while it is new.
	Ordered, Finalized time.Time
	// NotBefore and NotAfter are what the client asked for, zero if it did not.
	NotBefore, NotAfter time.Time
}

// ClockSkew is how far a client's clock may be off when it asks for a validity that starts now, or for the longest one.
const ClockSkew = time.Minute

// DefaultBackdate is how long certificates of such a lifetime are usually backdated: an hour, as public CAs do, and less
// for short ones, of which it would eat too much.
func DefaultBackdate(lifetime time.Duration) time.Duration {
	return min(time.Hour, (lifetime / 12).Truncate(time.Second))
}

// Period is the first and the last second of a certificate. What was asked for is given exactly or refused (RFC 8555 section
// 7.4). No certificate lasts past the longest lifetime from when it was finalized, so that what was proved for it isn't relied
// on for longer: one that starts later is shorter.
func (b Bounds) Period(t Times) (from, to time.Time, problem *acme.Problem) {
	longest := b.MaxLifetime
	if longest == 0 {
		longest = b.Lifetime
	}
	finalized := WholeSecond(t.Finalized)
	latest := finalized.Add(longest)
	from = finalized.Add(-b.Backdate)
	if !t.NotBefore.IsZero() {
		from = WholeSecond(t.NotBefore)
	}
	to = Earlier(LastSecond(from, b.Lifetime), latest)
	if !t.NotAfter.IsZero() {
		to = WholeSecond(t.NotAfter)
		if t.NotBefore.IsZero() && to.Add(-longest).After(from) {
			// Less backdating, so that the longest lifetime can be asked for.
			from = Earlier(to.Add(-longest), finalized)
		}
	}
	refuse := func(format string, args ...any) (time.Time, time.Time, *acme.Problem) {
		return from, to, acme.NewProblem(acme.Malformed, format, args...)
	}
	switch {
	case !t.NotBefore.IsZero() && from.Before(t.Ordered.Add(-max(b.Backdate, ClockSkew))):
		return refuse("notBefore %s is in the past", Text(from))
	case !t.NotBefore.IsZero() && from.After(latest):
		return refuse("notBefore %s is further in the future than a certificate of profile %q lasts, which is %v", Text(from), b.Profile, longest)
	case to.Before(finalized):
		return refuse("notAfter %s is in the past", Text(to))
	case to.Before(from):
		return refuse("notAfter %s is before notBefore, which is %s", Text(to), Text(from))
	case to.After(latest.Add(ClockSkew)), to.Sub(from) > longest+ClockSkew:
		return refuse("a certificate until %s would be longer than profile %q allows, which is %v", Text(to), b.Profile, longest)
	}
	return from, to, nil
}
