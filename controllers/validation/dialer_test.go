package validation

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/acmeca/acmeca/api/acme"
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
