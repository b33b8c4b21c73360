package validity

import "time"

// WholeSecond cuts a time to what a certificate can hold.
func WholeSecond(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// LastSecond is notAfter for a validity of the given length: both ends belong to it (RFC 5280 section 4.1.2.5), so it is a
// second short of the sum.
func LastSecond(notBefore time.Time, lifetime time.Duration) time.Time {
	return WholeSecond(notBefore.Add(lifetime)).Add(-time.Second)
}

// Earlier is the earlier of two times.
func Earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Later is the later of two times.
func Later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Text is how times are written in messages.
func Text(t time.Time) string { return t.UTC().Format(time.RFC3339) }
