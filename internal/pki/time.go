package pki

import "time"

// WholeSecond truncates a time to whole seconds in UTC, the precision of a certificate.
func WholeSecond(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// LastSecond returns notAfter for a validity of the given length. Both ends count (RFC 5280 section 4.1.2.5), so notAfter is a
// second before notBefore + lifetime.
func LastSecond(notBefore time.Time, lifetime time.Duration) time.Time {
	return WholeSecond(notBefore.Add(lifetime)).Add(-time.Second)
}

// Earlier returns the earlier of two times.
func Earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Later returns the later of two times.
func Later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// TimeText formats a time for messages (RFC 3339, UTC).
func TimeText(t time.Time) string { return t.UTC().Format(time.RFC3339) }
