package ca

import "time"

// wholeSecond cuts a time to what a certificate can hold.
func wholeSecond(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// lastSecond is notAfter for a validity of the given length: both ends belong to it (RFC 5280 section 4.1.2.5), so it is a
// second short of the sum.
func lastSecond(notBefore time.Time, lifetime time.Duration) time.Time {
	return wholeSecond(notBefore.Add(lifetime)).Add(-time.Second)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// timeText is how times are written in messages.
func timeText(t time.Time) string { return t.UTC().Format(time.RFC3339) }
