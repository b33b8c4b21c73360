package answer

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestCacheable(t *testing.T) {
	modified := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		headers  map[string]string
		status   int
		body     string
		tag      string
		encoding string
	}{
		"first":                         {nil, 200, "plain", `"t"`, ""},
		"the same tag":                  {map[string]string{"If-None-Match": `"t"`}, 304, "", `"t"`, ""},
		"a weak tag among others":       {map[string]string{"If-None-Match": `"a", W/"t"`}, 304, "", `"t"`, ""},
		"any tag":                       {map[string]string{"If-None-Match": "*"}, 304, "", `"t"`, ""},
		"another tag":                   {map[string]string{"If-None-Match": `"a"`}, 200, "plain", `"t"`, ""},
		"another tag decides":           {map[string]string{"If-None-Match": `"a"`, "If-Modified-Since": "Tue, 01 Jan 2030 00:00:00 GMT"}, 200, "plain", `"t"`, ""},
		"not modified":                  {map[string]string{"If-Modified-Since": "Tue, 01 Jan 2030 00:00:00 GMT"}, 304, "", `"t"`, ""},
		"modified":                      {map[string]string{"If-Modified-Since": "Mon, 31 Dec 2029 23:59:59 GMT"}, 200, "plain", `"t"`, ""},
		"a time that is none":           {map[string]string{"If-Modified-Since": "yesterday"}, 200, "plain", `"t"`, ""},
		"gzip":                          {map[string]string{"Accept-Encoding": "deflate, GZIP;q=0.5"}, 200, "small", `"t-gzip"`, "gzip"},
		"gzip, and the same tag":        {map[string]string{"Accept-Encoding": "gzip", "If-None-Match": `"t-gzip"`}, 304, "", `"t-gzip"`, ""},
		"gzip, and the tag of the body": {map[string]string{"Accept-Encoding": "gzip", "If-None-Match": `"t"`}, 200, "small", `"t-gzip"`, "gzip"},
		"no gzip":                       {map[string]string{"Accept-Encoding": "gzip;q=0, br"}, 200, "plain", `"t"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
			for header, value := range test.headers {
				r.Header.Set(header, value)
			}
			stream := func(text string) *Stream {
				return &Stream{Size: len(text), Send: func(w io.Writer) error { _, err := io.WriteString(w, text); return err }}
			}
			a := (&Answer{Status: 200, Stream: stream("plain")}).Cacheable(r, "t", modified, func() *Stream { return stream("small") })
			w := httptest.NewRecorder()
			a.Write(w)
			if a.Status != test.status || w.Body.String() != test.body || a.Header.Get("ETag") != test.tag || a.Header.Get("Content-Encoding") != test.encoding {
				t.Errorf("%d %q %v", a.Status, w.Body, a.Header)
			}
			if a.Header.Get("Last-Modified") != "Tue, 01 Jan 2030 00:00:00 GMT" || a.Header.Get("Vary") != "Accept-Encoding" {
				t.Errorf("%v", a.Header)
			}
		})
	}
}
