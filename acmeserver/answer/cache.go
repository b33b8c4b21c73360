package answer

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Cacheable adds the headers with which a client asks again at little cost: ETag and Last-Modified (RFC 9110 section 8.8). It returns
// the answer 304 if r says that the client has this answer, and the body of compressed if r accepts gzip. compressed may be nil. The
// body is a Stream, which tag identifies.
func (a *Answer) Cacheable(r *http.Request, tag string, modified time.Time, compressed func() *Stream) *Answer {
	a.Header = http.Header{"Vary": {"Accept-Encoding"}, "Last-Modified": {modified.UTC().Format(http.TimeFormat)}}
	zipped := compressed != nil && acceptsGzip(r.Header)
	if zipped {
		tag += "-gzip"
	}
	a.Header.Set("ETag", `"`+tag+`"`)
	switch {
	case isKnown(r.Header, tag, modified):
		a.Status, a.Stream = http.StatusNotModified, nil
	case zipped:
		a.Stream = compressed()
		a.Header.Set("Content-Encoding", "gzip")
	}
	if a.Stream != nil && r.Method == http.MethodHead {
		a.Stream = &Stream{Size: a.Stream.Size, Send: func(io.Writer) error { return nil }}
	}
	return a
}

// isKnown reports whether the client has the answer (RFC 9110 section 13.2.2): If-None-Match decides if it is present.
func isKnown(h http.Header, tag string, modified time.Time) bool {
	if tags := h.Values("If-None-Match"); len(tags) > 0 {
		for text := range strings.SplitSeq(strings.Join(tags, ","), ",") {
			if text = strings.TrimSpace(text); text == "*" || strings.TrimPrefix(text, "W/") == `"`+tag+`"` {
				return true
			}
		}
		return false
	}
	since, err := http.ParseTime(h.Get("If-Modified-Since"))
	return err == nil && !modified.Truncate(time.Second).After(since)
}

// acceptsGzip reports whether Accept-Encoding names gzip with a weight above 0 (RFC 9110 section 12.5.3).
func acceptsGzip(h http.Header) bool {
	for coding := range strings.SplitSeq(strings.Join(h.Values("Accept-Encoding"), ","), ",") {
		name, parameters, _ := strings.Cut(coding, ";")
		if !strings.EqualFold(strings.TrimSpace(name), "gzip") {
			continue
		}
		weight, found := strings.CutPrefix(strings.ReplaceAll(parameters, " ", ""), "q=")
		if !found {
			return true
		}
		q, err := strconv.ParseFloat(weight, 64)
		return err == nil && q > 0
	}
	return false
}
