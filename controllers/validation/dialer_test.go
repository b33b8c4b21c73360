package validation

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/controllers/validation/network"
)

// dialFirstOf dials addresses in a synctest bubble. Those in open accept at once, the others never answer. It returns the
// dialled addresses.
func dialFirstOf(t *testing.T, addresses []string, open ...string) (dialled []string, failed *failure) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		a := &attempt{Validator: &Validator{dial: func(ctx context.Context, _, address string) (net.Conn, error) {
			dialled = append(dialled, address)
			if slices.Contains(open, address) {
				conn, _ := net.Pipe()
				return conn, nil
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}}}
		var addrs []netip.Addr
		for _, s := range addresses {
			addrs = append(addrs, netip.MustParseAddr(s))
		}
		var conn net.Conn
		if conn, failed = a.dialFirst(ctx, addrs, 80); failed == nil {
			conn.Close()
		}
		if ctx.Err() != nil {
			t.Error("no time is left for what follows")
		}
	})
	return dialled, failed
}

// An address that never answers gets its share of the time, not all of it.
func TestDialFirst(t *testing.T) {
	addresses := []string{"2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1", "192.0.2.2", "192.0.2.3"}
	dialled, failed := dialFirstOf(t, addresses, "192.0.2.1:80", "192.0.2.2:80")
	equal(t, "dialled", dialled, []string{"[2001:db8::1]:80", "[2001:db8::2]:80", "192.0.2.1:80"})
	if failed != nil {
		t.Error(failed.problem)
	}
	dialled, failed = dialFirstOf(t, addresses)
	equal(t, "dialled", dialled, []string{"[2001:db8::1]:80", "[2001:db8::2]:80", "192.0.2.1:80", "192.0.2.2:80"})
	if failed == nil {
		t.Fatal("connected to a black hole")
	}
	expectation{problem: acme.Connection, transient: true, detail: "connecting to 192.0.2.2:80: timed out"}.
		check(t, conclude(unproven, failed))
}

func TestDialFirstEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	dials := 0
	a := &attempt{Validator: &Validator{dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		dials++
		cancel()
		return nil, ctx.Err()
	}}}
	_, failed := a.dialFirst(ctx, []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.1")}, 80)
	if failed == nil || dials != 1 {
		t.Errorf("got %v after %d dials", failed, dials)
	}
}

func TestFewOfEach(t *testing.T) {
	var addrs []netip.Addr
	for _, s := range []string{"2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1", "192.0.2.2", "192.0.2.3"} {
		addrs = append(addrs, netip.MustParseAddr(s))
	}
	want := slices.Concat(addrs[:2], addrs[3:5])
	if got := fewOfEach(addrs); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// Attempts release all their slots: those of failed connections and of each redirect too.
func TestAttemptsReleaseTheirSlots(t *testing.T) {
	w := newWorld(t, "a.test. A 192.0.2.1", "b.test. A 192.0.2.1", "c.test. A 192.0.2.3")
	w.config.Hosts = network.NewHosts(1)
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
	for _, addr := range []string{"192.0.2.1", "192.0.2.3"} {
		if _, ok := w.config.Hosts.Acquire(t.Context(), netip.MustParseAddr(addr)); !ok {
			t.Errorf("the slot of %s is still held", addr)
		}
	}
}

func TestFullHostIsTransient(t *testing.T) {
	w := newWorld(t, "a.test. A 192.0.2.1")
	w.config.Hosts, w.config.Timeout = network.NewHosts(1), 50*time.Millisecond
	if _, ok := w.config.Hosts.Acquire(t.Context(), netip.MustParseAddr("192.0.2.1")); !ok {
		t.Fatal("no room")
	}
	expectation{problem: acme.Connection, transient: true, detail: "192.0.2.1:80: too many validations are connected to this address"}.
		check(t, w.validator().Validate(t.Context(), dnsRequest(acme.HTTP01, "a.test")))
	equal(t, "dials", w.dials, nil)
}
