package acmeserver

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/acmeca/acmeca/acmeserver/nonce"
	"github.com/acmeca/acmeca/api/v1alpha1"
)

func boundedServer(t *testing.T, next http.HandlerFunc) (*Server, http.Handler) {
	t.Helper()
	nonces, err := nonce.NewSource(nonce.NewKeys(), "", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	s := serverWithStores()
	s.nonces, s.reading, s.serving = nonces, newPlaces(2, 1), newPlaces(2, 1)
	return s, s.bounded(next)
}

// serverWithStores has stores that nothing can be read from.
func serverWithStores() *Server {
	return &Server{
		metrics: newMetrics(), accounts: &store[*v1alpha1.AcmeAccount]{}, orders: &store[*v1alpha1.AcmeOrder]{}, authorizations: &store[*v1alpha1.AcmeAuthorization]{},
	}
}

func from(address string, body io.Reader) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/acme/new-order", body)
	r.RemoteAddr = address
	return r
}

func TestOverloadIsToldAsAProblemThatPasses(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	s, handler := boundedServer(t, func(http.ResponseWriter, *http.Request) { entered <- struct{}{}; <-leave })
	answered := make(chan struct{}, 2)
	serve := func(address string) {
		handler.ServeHTTP(httptest.NewRecorder(), from(address, strings.NewReader("{}")))
		answered <- struct{}{}
	}
	refused := func(address string) {
		t.Helper()
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, from(address, strings.NewReader("{}")))
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || w.Header().Get("Replay-Nonce") == "" ||
			w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %v", address, w.Code, w.Header())
		}
	}
	go serve("192.0.2.1:1")
	<-entered
	refused("192.0.2.1:2") // has its share
	go serve("192.0.2.2:1")
	<-entered
	refused("192.0.2.3:1") // there is no place left
	close(leave)
	<-answered
	<-answered
	if s.serving.taken != 0 || len(s.serving.by) != 0 || s.reading.taken != 0 || len(s.reading.by) != 0 {
		t.Errorf("places are left taken: %v, %v", s.serving, s.reading)
	}
}

func TestWhoSendsSlowlyKeepsNobodyFromBeingServed(t *testing.T) {
	var bodies []string
	s, handler := boundedServer(t, func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			body = []byte(err.Error())
		}
		bodies = append(bodies, string(body))
	})
	slow, send := io.Pipe()
	done := make(chan struct{})
	go func() {
		handler.ServeHTTP(httptest.NewRecorder(), from("192.0.2.1:1", slow))
		close(done)
	}()
	if _, err := send.Write([]byte("half")); err != nil {
		t.Fatal(err)
	}
	if s.serving.taken != 0 {
		t.Error("a place is taken for a body that isn't there yet")
	}
	handler.ServeHTTP(httptest.NewRecorder(), from("192.0.2.2:1", strings.NewReader("whole")))
	send.CloseWithError(io.ErrUnexpectedEOF)
	<-done
	if len(bodies) != 2 || bodies[0] != "whole" || bodies[1] != io.ErrUnexpectedEOF.Error() {
		t.Errorf("served %q", bodies)
	}
}
