package acmeserver

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/acmeca/acmeca/acmeserver/limit"
	"github.com/acmeca/acmeca/acmeserver/metrics"
	"github.com/acmeca/acmeca/acmeserver/nonce"
	"github.com/acmeca/acmeca/acmeserver/store/storetest"
)

func limitedServer(t *testing.T, next http.HandlerFunc) (*Server, http.Handler) {
	t.Helper()
	nonces, err := nonce.NewSource(nonce.NewKeys(), "", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{
		metrics: metrics.New(), store: storetest.New(t).Store, nonces: nonces,
		bodies: limit.NewLimiter(2, 1), requests: limit.NewLimiter(2, 1),
	}
	return s, s.limitRequests(next)
}

func from(address string, body io.Reader) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/acme/new-order", body)
	r.RemoteAddr = address
	return r
}

func TestOverloadIsAProblemToRetry(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	s, handler := limitedServer(t, func(http.ResponseWriter, *http.Request) { entered <- struct{}{}; <-leave })
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
	refused("192.0.2.3:1") // there is no slot left
	close(leave)
	<-answered
	<-answered
	if s.requests.InUse() != 0 || s.bodies.InUse() != 0 {
		t.Errorf("slots are left reserved: %v, %v", s.requests, s.bodies)
	}
	for _, address := range []string{"192.0.2.1", "192.0.2.2"} {
		if !s.requests.Acquire(address) || !s.bodies.Acquire(address) {
			t.Errorf("a slot of %s is left reserved", address)
		}
	}
}

func TestSlowSendersKeepNobodyFromBeingServed(t *testing.T) {
	var bodies []string
	s, handler := limitedServer(t, func(_ http.ResponseWriter, r *http.Request) {
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
	if s.requests.InUse() != 0 {
		t.Error("a slot is reserved for a body that has not arrived yet")
	}
	handler.ServeHTTP(httptest.NewRecorder(), from("192.0.2.2:1", strings.NewReader("whole")))
	send.CloseWithError(io.ErrUnexpectedEOF)
	<-done
	if len(bodies) != 2 || bodies[0] != "whole" || bodies[1] != io.ErrUnexpectedEOF.Error() {
		t.Errorf("served %q", bodies)
	}
}
