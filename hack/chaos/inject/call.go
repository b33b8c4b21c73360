package inject

import (
	"net/http"
	"strings"
)

// A Call is a kind of write.
type Call struct {
	Half, Method string
	// Resource includes the subresource, such as "acmeorders/status".
	Resource string
}

func (c Call) String() string { return c.Half + " " + c.Method + " " + c.Resource }

// callOf returns the write of a request. It returns false for reads, and for writes of leases and Events, which are
// not counted.
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

// A Point is one write of a script: the nth of its kind, counted from 1.
type Point struct {
	Call
	Nth int
}

// A Mode is a kind of failure at a point.
type Mode string

// These are the modes.
const (
	FailBefore  Mode = "fails before it is sent"
	FailAfter   Mode = "is carried out, and its answer is lost"
	Conflict    Mode = "is answered with a conflict"
	CrashBefore Mode = "ends the process before it is sent"
	CrashAfter  Mode = "ends the process after it was carried out"
)

// Modes lists all modes.
var Modes = []Mode{FailBefore, FailAfter, Conflict, CrashBefore, CrashAfter}

// Applies reports whether a mode applies to a call.
func (m Mode) Applies(c Call) bool { return m != Conflict || c.Method != http.MethodPost }
