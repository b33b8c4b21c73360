package acmeserver

import (
	"net/http"
	"strings"
)

// allowBrowsers lets scripts of any origin speak ACME (RFC 8555 section 6.1). Nothing here goes by cookies or other
// credentials that a browser would add: who may do what depends on signatures alone.
func allowBrowsers(h http.Header) {
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "Link, Location, Replay-Nonce, Retry-After")
}

// preflight answers what a browser asks before a POST with application/jose+json (Fetch standard, CORS-preflight).
func preflight(allowed []string) *answer {
	return &answer{status: http.StatusNoContent, header: http.Header{
		"Allow":                        {strings.Join(allowed, ", ")},
		"Access-Control-Allow-Methods": {strings.Join(allowed, ", ")},
		"Access-Control-Allow-Headers": {"Content-Type"},
		"Access-Control-Max-Age":       {"86400"},
	}}
}
