package inject

import (
	"net/http"
	"strings"
)

// A Call is a kind of write.
type Call struct {
	Half, Method string
	// Resource with its subresource, such as "acmeorders/status".
	Resource string
}

func (c Call) String() string { return c.Half + " " + c.Method + " " + c.Resource }

// callOf says what a request writes; false for one that doesn't write what counts: reads, leases, Events.
func callOf(half string, r *http.Request) (Call, bool) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return Call{}, false
	}
	// /api/v1/namespaces/NAMESPACE/RESOURCE[/NAME[/SUBRESOURCE]], or /apis/GROUP/VERSION/namespaces/...
	_, path, namespaced := strings.Cut(r.URL.Path, "/namespaces/")
	parts := strings.Split(path, "/")
	if !namespaced || len(parts) < 2 {
		return Call{}, false
	}
	resource := parts[1]
	if len(parts) > 3 {
		resource += "/" + parts[3]
	}
	if resource == "events" || resource == "leases" {
		return Call{}, false
	}
	return Call{half, r.Method, resource}, true
}

// A Point is one write of those that a script leads to: the nth of its kind, counted from 1.
type Point struct {
	Call
	Nth int
}

// A Mode is what happens at a point.
type Mode string

// Modes.
const (
	FailBefore  Mode = "fails before it is sent"
	FailAfter   Mode = "is carried out, and its answer is lost"
	Conflict    Mode = "is answered with a conflict"
	CrashBefore Mode = "is where the process dies, before it is sent"
	CrashAfter  Mode = "is where the process dies, after it was carried out"
)

// Modes of all kinds.
var Modes = []Mode{FailBefore, FailAfter, Conflict, CrashBefore, CrashAfter}

// Applies reports whether a mode can happen to a call.
func (m Mode) Applies(c Call) bool { return m != Conflict || c.Method != http.MethodPost }
