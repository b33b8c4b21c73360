package network

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHosts(2)
		a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		leave, _ := h.Acquire(t.Context(), a)
		h.Acquire(t.Context(), a)
		h.Acquire(t.Context(), b)
		impatient, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, ok := h.Acquire(impatient, a); ok {
			t.Error("three at a host for two")
		}
		entered := false
		go func() { _, entered = h.Acquire(t.Context(), a) }()
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
	leave, _ := h.Acquire(t.Context(), netip.IPv6LinkLocalAllNodes())
	leave()
	if len(h.byAddr) != 0 {
		t.Errorf("got %v", h.byAddr)
	}
}
