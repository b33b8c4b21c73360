package validation

import (
	"context"
	"net/http"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/acmeca/acmeca/api/acme"
)

func TestHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHosts(2)
		a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		leave, _ := h.acquire(t.Context(), a)
		h.acquire(t.Context(), a)
		h.acquire(t.Context(), b)
		impatient, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, ok := h.acquire(impatient, a); ok {
			t.Error("three at a host for two")
		}
		entered := false
		go func() { _, entered = h.acquire(t.Context(), a) }()
		synctest.Wait()
		if entered {
			t.Error("entered a full host")
		}
		leave()
		leave() // counts once
		synctest.Wait()
		if !entered {
			t.Error("a place that was returned stays empty")
		}
	})
}

func TestHostsForgets(t *testing.T) {
	h := NewHosts(0)
	if h.limit != DefaultPerHost {
		t.Errorf("got %d", h.limit)
	}
	leave, _ := h.acquire(t.Context(), netip.IPv6LinkLocalAllNodes())
	leave()
	if len(h.byAddr) != 0 {
		t.Errorf("got %v", h.byAddr)
	}
}

// Attempts release all their slots: those of failed connections and of each redirect too.
func TestAttemptsReleaseTheirSlots(t *testing.T) {
	w := newWorld(t, "a.test. A 192.0.2.1", "b.test. A 192.0.2.1", "c.test. A 192.0.2.3")
	w.config.Hosts = NewHosts(1)
	w.http(func(rw http.ResponseWriter, r *http.Request) {
		if r.Host == "a.test" {
			redirectTo("http://b.test/x")(rw, r)
			return
		}
		_, _ = rw.Write([]byte(testKeyAuth))
	}, "192.0.2.1:80")
	v := w.validator()
	for range 3 {
		expectation{}.check(t, v.Validate(t.Context(), dnsRequest(acme.HTTP01, "a.test")))
		expectation{problem: acme.Connection, transient: true}.check(t, v.Validate(t.Context(), dnsRequest(acme.HTTP01, "c.test")))
		expectation{problem: acme.Connection, transient: true}.check(t, v.Validate(t.Context(), dnsRequest(acme.TLSALPN01, "a.test")))
	}
	if len(w.config.Hosts.byAddr) != 0 {
		t.Errorf("still held: %v", w.config.Hosts.byAddr)
	}
}

func TestFullHostIsTransient(t *testing.T) {
	w := newWorld(t, "a.test. A 192.0.2.1")
	w.config.Hosts, w.config.Timeout = NewHosts(1), 50*time.Millisecond
	if _, ok := w.config.Hosts.acquire(t.Context(), netip.MustParseAddr("192.0.2.1")); !ok {
		t.Fatal("no room")
	}
	expectation{problem: acme.Connection, transient: true, detail: "192.0.2.1:80: too many validations are connected to this address"}.
		check(t, w.validator().Validate(t.Context(), dnsRequest(acme.HTTP01, "a.test")))
	equal(t, "dials", w.dials, nil)
}
