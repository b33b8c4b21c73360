package pki

import (
	"time"

	"github.com/acmeca/acmeca/api/acme"
)

// ValidityBounds are a profile's limits on the validity of its certificates.
type ValidityBounds struct {
	// Profile is the profile's name, for messages.
	Profile string
	// Lifetime is the default lifetime of a certificate in whole seconds, both ends included.
	Lifetime time.Duration
	// MaxLifetime is the longest lifetime that a client may ask for. Zero means Lifetime.
	MaxLifetime time.Duration
	// Backdate is the time between notBefore and the client's finalize request. It allows for clocks that are behind.
	Backdate time.Duration
}

// OrderTimes are the times of an order that decide its certificate's validity.
type OrderTimes struct {
	// Ordered and Finalized are the times of the newOrder and finalize requests. They are equal for a new order.
	Ordered, Finalized time.Time
	// NotBefore and NotAfter are the times that the client asked for, or zero.
	NotBefore, NotAfter time.Time
}

// ClockSkew is the accepted error of a client's clock, if the client asks for a validity that starts now or for the longest one.
const ClockSkew = time.Minute

// DefaultBackdate returns the usual backdating for a lifetime: one hour, as public CAs do, but at most a twelfth of the lifetime.
func DefaultBackdate(lifetime time.Duration) time.Duration {
	return min(time.Hour, (lifetime / 12).Truncate(time.Second))
}

// Period returns the first and the last second of a certificate. Requested times are granted exactly or refused (RFC 8555
// section 7.4). No certificate is valid after the finalize request plus the longest lifetime, so that no proof is relied on for
// longer. A certificate that starts later is therefore shorter.
func (b ValidityBounds) Period(t OrderTimes) (from, to time.Time, problem *acme.Problem) {
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
		return refuse("notBefore %s is in the past", TimeText(from))
	case !t.NotBefore.IsZero() && from.After(latest):
		return refuse("notBefore %s is further in the future than the longest lifetime of profile %q, which is %v", TimeText(from), b.Profile, longest)
	case to.Before(finalized):
		return refuse("notAfter %s is in the past", TimeText(to))
	case to.Before(from):
		return refuse("notAfter %s is before notBefore %s", TimeText(to), TimeText(from))
	case to.After(latest.Add(ClockSkew)), to.Sub(from) > longest+ClockSkew:
		return refuse("notAfter %s exceeds the longest lifetime of profile %q, which is %v", TimeText(to), b.Profile, longest)
	}
	return from, to, nil
}
