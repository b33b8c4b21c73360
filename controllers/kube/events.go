package kube

import "github.com/acmeca/acmeca/api/acme"

// maxNote bounds the note of an Event in bytes. The API server refuses an Event with a longer note.
const maxNote = 1024

// Note returns the text of a problem for an Event.
func Note(problem *acme.Problem) string { return acme.Printable(problem.Error(), maxNote) }
