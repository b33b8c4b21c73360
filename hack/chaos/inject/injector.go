package inject

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// These are the injected errors.
var (
	errBefore = errors.New("injected: the connection was refused")
	errAfter  = errors.New("injected: the connection broke before the answer")
)

// An Injector decides about the writes of both halves. It records the writes and fails the armed one.
type Injector struct {
	// Crash ends a half. The injector does not wait for the end.
	Crash func(half string)

	mu    sync.Mutex
	lag   map[string]time.Duration
	seen  []Point
	count map[Call]int
	at    Point
	mode  Mode
	done  bool
}

// Arm forgets the recorded writes and arms a point; the zero Point is none.
func (i *Injector) Arm(at Point, mode Mode) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.seen, i.count, i.at, i.mode, i.done = nil, map[Call]int{}, at, mode, false
}

// Seen returns the writes since Arm, and whether the fault happened.
func (i *Injector) Seen() (points []Point, happened bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]Point(nil), i.seen...), i.done
}

// note counts a write, and returns the mode of its failure, if any.
func (i *Injector) note(call Call) Mode {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.count == nil {
		i.count = map[Call]int{}
	}
	i.count[call]++
	point := Point{call, i.count[call]}
	i.seen = append(i.seen, point)
	if i.done || point != i.at {
		return ""
	}
	i.done = true
	return i.mode
}

// Lag delays the events of all watches of a half from now on, even after restarts. The half reads an old state from
// its cache until then.
func (i *Injector) Lag(half string, lag time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.lag == nil {
		i.lag = map[string]time.Duration{}
	}
	i.lag[half] = lag
}

func (i *Injector) lagOf(half string) time.Duration {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.lag[half]
}

// laggingBody delays the events of a watch.
type laggingBody struct {
	io.ReadCloser
	lag func() time.Duration
}

// Read implements io.Reader.
func (b laggingBody) Read(into []byte) (int, error) {
	n, err := b.ReadCloser.Read(into)
	if lag := b.lag(); lag > 0 {
		time.Sleep(lag)
	}
	return n, err
}

// Intercept returns the function that decides about the requests of a half.
func (i *Injector) Intercept(half string) func(*http.Request, func(*http.Request) (*http.Response, error)) (*http.Response, error) {
	return func(request *http.Request, next func(*http.Request) (*http.Response, error)) (*http.Response, error) {
		if request.URL.Query().Get("watch") != "" {
			response, err := next(request)
			if err == nil {
				response.Body = laggingBody{response.Body, func() time.Duration { return i.lagOf(half) }}
			}
			return response, err
		}
		call, counts := callOf(half, request)
		if !counts {
			return next(request)
		}
		switch i.note(call) {
		case FailBefore:
			return nil, errBefore
		case Conflict:
			return conflict(request), nil
		case CrashBefore:
			go i.Crash(half)
			<-request.Context().Done() // the request never gets an answer
			return nil, errBefore
		case FailAfter:
			lose(next(request))
			return nil, errAfter
		case CrashAfter:
			lose(next(request))
			go i.Crash(half)
			return nil, errAfter
		}
		return next(request)
	}
}

func lose(response *http.Response, err error) {
	if err == nil {
		_, _ = io.Copy(io.Discard, response.Body) // until the answer is complete
		_ = response.Body.Close()
	}
}

const conflictStatus = `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"injected: the object has been modified","reason":"Conflict","code":409}`

func conflict(request *http.Request) *http.Response {
	return &http.Response{
		Status: "409 Conflict", StatusCode: http.StatusConflict, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, ContentLength: int64(len(conflictStatus)),
		Body: io.NopCloser(bytes.NewReader([]byte(conflictStatus))), Request: request,
	}
}
