package inprocess

import (
	"errors"
	"net/http"
	"sync/atomic"
)

// Intercept decides about a request to the API server. next sends the request.
type Intercept func(request *http.Request, next func(*http.Request) (*http.Response, error)) (*http.Response, error)

// errDead is the error of requests after their process has ended.
var errDead = errors.New("the process has ended")

// gate carries the requests of one life of a half to the API server. After that life, the gate fails all requests.
type gate struct {
	inner     http.RoundTripper
	over      *atomic.Bool
	intercept *atomic.Pointer[Intercept]
}

// RoundTrip implements http.RoundTripper.
func (g *gate) RoundTrip(request *http.Request) (*http.Response, error) {
	if g.over.Load() {
		return nil, errDead
	}
	next := func(request *http.Request) (*http.Response, error) {
		if g.over.Load() {
			return nil, errDead
		}
		return g.inner.RoundTrip(request)
	}
	var response *http.Response
	var err error
	if intercept := g.intercept.Load(); intercept != nil {
		response, err = (*intercept)(request, next)
	} else {
		response, err = next(request)
	}
	if err == nil && g.over.Load() {
		_ = response.Body.Close()
		return nil, errDead
	}
	return response, err
}
