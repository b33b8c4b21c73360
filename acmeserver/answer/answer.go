// Package answer turns the result of a handler into an HTTP response: a document, or the problem document of an error.
// Handlers return an Answer or an error, and touch no http.ResponseWriter.
package answer

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/acmeca/acmeca/api/acme"
)

// Answer is an HTTP response.
type Answer struct {
	Status int
	// Body is sent as JSON; Raw is sent as it is. Stream is sent in pieces, if neither is set.
	Body        any
	Raw         []byte
	Stream      *Stream
	ContentType string
	Location    string
	Links       []Link
	// RetryAfter is zero for answers without the header. See retry.go for values.
	RetryAfter time.Duration
	// MaxAge is how long any cache may keep the answer. Zero forbids caching.
	MaxAge time.Duration
	Header http.Header
	// Problem is the type of the problem document in the body; empty if the answer is not a problem.
	Problem acme.ProblemType
}

// Link is a link to a resource (RFC 8288).
type Link struct{ URL, Rel string }

// OK returns an answer with status 200 and a JSON body.
func OK(body any) *Answer { return &Answer{Status: http.StatusOK, Body: body} }

// Write sends the answer.
func (a *Answer) Write(w http.ResponseWriter) {
	h := w.Header()
	for name, values := range a.Header {
		h[name] = append(h[name], values...)
	}
	for _, l := range a.Links {
		h.Add("Link", "<"+l.URL+`>;rel="`+l.Rel+`"`)
	}
	if a.Location != "" {
		h.Set("Location", a.Location)
	}
	if a.RetryAfter > 0 {
		h.Set("Retry-After", seconds(a.RetryAfter))
	}
	if a.MaxAge > 0 {
		h.Set("Cache-Control", "public, max-age="+seconds(a.MaxAge))
	} else {
		h.Set("Cache-Control", "no-store")
	}
	body := a.Raw
	if a.Body != nil {
		var err error
		if body, err = json.Marshal(a.Body); err != nil {
			w.WriteHeader(http.StatusInternalServerError) // unreachable: the package's own types marshal
			return
		}
		body = append(body, '\n')
		if a.ContentType == "" {
			a.ContentType = "application/json"
		}
	}
	size := len(body)
	if size == 0 && a.Stream != nil {
		size = a.Stream.Size
	}
	if size > 0 {
		h.Set("Content-Type", a.ContentType)
		h.Set("Content-Length", strconv.Itoa(size))
	}
	w.WriteHeader(a.Status)
	if len(body) == 0 && a.Stream != nil {
		a.Stream.send(w)
		return
	}
	_, _ = w.Write(body) // a client that has gone needs no body
}

// seconds formats a duration as HTTP does, rounded up (RFC 9110 section 10.2.3).
func seconds(d time.Duration) string { return strconv.Itoa(int((d + time.Second - 1) / time.Second)) }

// AllowBrowsers allows scripts of any origin to read the answer (RFC 8555 section 6.1). The server uses no cookies or other
// credentials that a browser adds: signatures alone authenticate a client. Requests without Origin get none of these
// headers, because some clients find "location" in Access-Control-Expose-Headers (getssl 2.51).
func AllowBrowsers(h http.Header, r *http.Request) {
	h.Add("Vary", "Origin")
	if r.Header.Get("Origin") == "" {
		return
	}
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "Link, Location, Replay-Nonce, Retry-After")
}

// Preflight answers the request that a browser sends before a POST with application/jose+json (Fetch standard,
// CORS-preflight request).
func Preflight(methods []string) *Answer {
	allowed := strings.Join(methods, ", ")
	return &Answer{Status: http.StatusNoContent, Header: http.Header{
		"Allow":                        {allowed},
		"Access-Control-Allow-Methods": {allowed},
		"Access-Control-Allow-Headers": {"Content-Type"},
		"Access-Control-Max-Age":       {"86400"},
	}}
}
