package acmeserver

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/acmeca/acmeca/acmeserver/limit"
	"github.com/acmeca/acmeca/acmeserver/metrics"
	"github.com/acmeca/acmeca/acmeserver/nonce"
	"github.com/acmeca/acmeca/acmeserver/store/storetest"
	"github.com/acmeca/acmeca/api/acme"
)

func limitedServer(t *testing.T, next http.HandlerFunc) (*Server, http.Handler) {
	t.Helper()
	nonces, err := nonce.NewSource(nonce.NewKeys(), "", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{
		metrics: metrics.New(), store: storetest.New(t).Store, nonces: nonces,
		bodies: limit.NewLimiter(2, 1), requests: limit.NewLimiter(2, 1), bodyBytes: limit.NewBytes(1 << 20),
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
	if s.requests.InUse() != 0 || s.bodies.InUse() != 0 || s.bodyBytes.InUse() != 0 {
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

// trickle is a body that stops after size bytes, without an end.
type trickle struct {
	ctx  context.Context
	size int64
}

func (b *trickle) Read(p []byte) (int, error) {
	n := int(min(int64(len(p)), b.size))
	if n == 0 {
		<-b.ctx.Done()
		return 0, b.ctx.Err()
	}
	b.size -= int64(n)
	return n, nil
}

// Slow clients that send the most of a large body, and never the rest, occupy no more than the budget. Small requests of
// others are served.
func TestSlowBodiesAreBoundedInBytes(t *testing.T) {
	const budget, senders = 1 << 20, 200
	served := make(chan struct{}, 1)
	s, handler := limitedServer(t, func(http.ResponseWriter, *http.Request) { served <- struct{}{} })
	s.bodies, s.requests, s.bodyBytes = limit.NewLimiter(1000, 1000), limit.NewLimiter(1000, 1000), limit.NewBytes(budget)
	ctx, cancel := context.WithCancel(t.Context())
	var refused, done atomic.Int32
	var all sync.WaitGroup
	for i := range senders {
		all.Go(func() {
			defer done.Add(1)
			r := from(fmt.Sprintf("192.0.2.%d:1", i%4), &trickle{ctx, maxBody - 1})
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if w.Code == http.StatusServiceUnavailable && w.Header().Get("Retry-After") != "" {
				refused.Add(1)
			}
		})
	}
	for deadline := time.Now().Add(10 * time.Second); int(done.Load()) < senders-budget/2/maxBody && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if s.bodyBytes.InUse() > budget || refused.Load() == 0 {
		t.Errorf("%d bytes are reserved of %d, %d senders refused", s.bodyBytes.InUse(), budget, refused.Load())
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, from("198.51.100.1:1", strings.NewReader("{}")))
	if len(served) != 1 {
		t.Errorf("a small request: %d", w.Code)
	}
	go func() {
		for range served {
			continue // of the senders whose bodies end
		}
	}()
	cancel()
	all.Wait()
	close(served)
	if s.bodyBytes.InUse() != 0 {
		t.Errorf("%d bytes are left reserved", s.bodyBytes.InUse())
	}
}

func TestBodiesAreBoundedByWhatTheirRouteStores(t *testing.T) {
	for path, limit := range map[string]int64{
		acme.ChallengePath("x", acme.HTTP01): maxShortBody, acme.AuthorizationPath("x"): maxShortBody, acme.OrderPath("x"): maxShortBody,
		acme.NewAccountPath: maxAccountBody, acme.KeyChangePath: maxAccountBody, acme.AccountPath("x"): maxAccountBody,
		acme.NewOrderPath: maxBody, acme.FinalizePath("x"): maxBody, acme.RevokeCertPath: maxBody,
	} {
		s := newServed(t)
		for size, length := range map[int64]int64{limit: limit, limit + 1: limit + 1, limit + 2: -1} {
			r := jose(t, issuerURL+path, strings.NewReader(strings.Repeat(" ", int(size))))
			r.ContentLength = length
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if tooLarge := w.Code == http.StatusRequestEntityTooLarge; tooLarge != (size > limit) {
				t.Errorf("%s with %d bytes: %d", path, size, w.Code)
			}
		}
	}
}

func TestTheMemoryOfBodiesFollowsTheMemoryLimit(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	for memory, want := range map[int64]int64{512 << 20: 32 << 20, 16 << 20: 4 << 20, math.MaxInt64: 64 << 20} {
		debug.SetMemoryLimit(memory)
		if got := DefaultMaxBodyBytes(); got != want {
			t.Errorf("with a limit of %d: %d, want %d", memory, got, want)
		}
	}
}
