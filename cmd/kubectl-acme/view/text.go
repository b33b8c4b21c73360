package view

import (
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
)

// Clean makes untrusted text safe for a terminal. White space becomes a space, and other characters that are not printable become '?'. So
// escape sequences, line breaks and characters that change the direction of text are removed.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\r', r == '\t':
			return ' '
		case r == utf8.RuneError, !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, s)
}

// Style is the appearance of text on a screen with colours.
type Style string

// The styles, as parameters of the terminal's SGR sequence.
const (
	Plain Style = ""
	Bold  Style = "1"
	Faint Style = "2"
	Bad   Style = "31"
	Good  Style = "32"
	Warn  Style = "33"
)

// Screen is the destination of output.
type Screen struct {
	io.Writer
	// Colour enables styles.
	Colour bool
	// Now is the reference of ages.
	Now time.Time
}

// styled cleans text and applies a style.
func (s Screen) styled(text string, style Style) string {
	text = Clean(text)
	if !s.Colour || style == Plain || text == "" {
		return text
	}
	return "\x1b[" + string(style) + "m" + text + "\x1b[0m"
}

// OfState returns the style of a state or of a condition's status.
func OfState(state string) Style {
	switch state {
	case "valid", "True", "unused", "reusable":
		return Good
	case "invalid", "False", "revoked", "expired", "missing":
		return Bad
	case "pending", "processing", "ready", "deactivated", "Unknown", "Degraded":
		return Warn
	}
	return Plain
}

// Age returns the time since t, in kubectl's format.
func (s Screen) Age(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return duration.HumanDuration(s.Now.Sub(t))
}

// Left returns the time until t, or that t is past.
func (s Screen) Left(t time.Time) string {
	switch left := t.Sub(s.Now); {
	case t.IsZero():
		return "-"
	case left < 0:
		return "expired " + duration.HumanDuration(-left) + " ago"
	default:
		return duration.HumanDuration(left)
	}
}

// when returns a time with its distance from now.
func (s Screen) when(t time.Time) string {
	text := Time(t) + " ("
	if t.After(s.Now) {
		return text + "in " + s.Left(t) + ")"
	}
	return text + s.Age(t) + " ago)"
}

// Time formats a time as RFC 3339 in UTC.
func Time(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// timeOf returns the time, or zero for nil.
func timeOf(t *metav1.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Time
}
