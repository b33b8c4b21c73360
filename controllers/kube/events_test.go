package kube

import (
	"strings"
	"testing"

	"github.com/acmeca/acmeca/api/acme"
)

// The API server refuses an Event whose note has more than 1024 bytes, so nobody would see why a request was refused.
func TestNotesFitEvents(t *testing.T) {
	for _, detail := range []string{"", "short", strings.Repeat("x", acme.MaxDetail), strings.Repeat("\u00e4", 2*acme.MaxDetail), "a\nb\x1b[31m"} {
		note := Note(&acme.Problem{Type: acme.BadSignatureAlgorithm, Detail: detail})
		if len(note) > 1024 || !strings.HasPrefix(note, "badSignatureAlgorithm: ") || strings.ContainsAny(note, "\n\x1b") {
			t.Errorf("%d bytes: %q", len(note), note)
		}
	}
}
