package inject

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func request(t *testing.T, method, path string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "https://api"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const status = "/apis/acmeca.dev/v1alpha1/namespaces/ns/acmeorders/o/status"

func TestWritesAreCounted(t *testing.T) {
	for path, want := range map[string]string{
		"PATCH " + status: "c PATCH acmeorders/status",
		"POST /apis/acmeca.dev/v1alpha1/namespaces/ns/acmeorders?fieldManager=x": "c POST acmeorders",
		"PUT /api/v1/namespaces/ns/configmaps/ca-crl-1":                          "c PUT configmaps",
		"GET " + status: "",
		"POST /apis/events.k8s.io/v1/namespaces/ns/events":                             "",
		"PUT /apis/coordination.k8s.io/v1/namespaces/acmeca-system/leases/x":           "",
		"POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews":                  "",
		"DELETE /apis/acmeca.dev/v1alpha1/namespaces/ns/acmeauthorizations/namespaces": "c DELETE acmeauthorizations",
	} {
		method, url, _ := strings.Cut(path, " ")
		call, counts := callOf("c", request(t, method, url))
		if counts != (want != "") || counts && call.String() != want {
			t.Errorf("%s: %q, %v", path, call, counts)
		}
	}
}

func TestOneWriteFails(t *testing.T) {
	for mode, want := range map[Mode]struct {
		sent int
		err  error
		code int
	}{
		FailBefore: {2, errBefore, 0}, FailAfter: {3, errAfter, 0}, Conflict: {2, nil, 409}, CrashAfter: {3, errAfter, 0},
	} {
		crashed := make(chan string, 1)
		i := &Injector{Crash: func(half string) { crashed <- half }}
		i.Arm(Point{Call{"c", "PATCH", "acmeorders/status"}, 2}, mode)
		sent := 0
		do := func() (*http.Response, error) {
			return i.Intercept("c")(request(t, "PATCH", status), func(*http.Request) (*http.Response, error) {
				sent++
				return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(""))}, nil
			})
		}
		for n := 1; n <= 3; n++ {
			response, err := do() //nolint:bodyclose // of a string
			switch {
			case n != 2 && (err != nil || response.StatusCode != http.StatusOK):
				t.Errorf("%s: write %d failed: %v", mode, n, err)
			case n == 2 && (!errors.Is(err, want.err) || err == nil && response.StatusCode != want.code):
				t.Errorf("%s: %v, %v", mode, response, err)
			}
		}
		if seen, happened := i.Seen(); sent != want.sent || len(seen) != 3 || !happened {
			t.Errorf("%s: %d sent, %v seen, %v", mode, sent, seen, happened)
		}
		if mode == CrashAfter && <-crashed != "c" {
			t.Error("another half crashed")
		}
	}
}

func TestWatchesLag(t *testing.T) {
	i := &Injector{}
	const lag = 30 * time.Millisecond
	watch := func(half string) time.Duration {
		t.Helper()
		response, err := i.Intercept(half)(request(t, http.MethodGet, "/apis/acmeca.dev/v1alpha1/acmeorders?watch=true"), func(*http.Request) (*http.Response, error) { //nolint:bodyclose // of a string
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("event"))}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if n, err := response.Body.Read(make([]byte, 16)); n != 5 || err != nil {
			t.Errorf("read %d, %v", n, err)
		}
		return time.Since(began)
	}
	i.Lag("c", lag)
	if took := watch("c"); took < lag {
		t.Errorf("an event came after %s", took)
	}
	i.Lag("c", 0)
	watch("c")
	if i.lagOf("c") != 0 {
		t.Error("it lags for ever")
	}
}
