package limit

import (
	"context"
	"net/netip"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// After the wait one more event fits, and a moment earlier it does not.
func TestWait(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		count, period := rapid.IntRange(1, 5).Draw(t, "count"), time.Hour
		var made []time.Time
		for _, ago := range rapid.SliceOfN(rapid.IntRange(0, 7200), 0, 12).Draw(t, "ago") {
			made = append(made, now.Add(-time.Duration(ago)*time.Second))
		}
		inPeriod := func(at time.Time) (n int) {
			for _, m := range made {
				if at.Sub(m) < period {
					n++
				}
			}
			return n
		}
		counted := append([]time.Time{}, made...)
		after := Wait(count, period, counted, now)
		if after < 0 || after > period {
			t.Fatalf("wait %s", after)
		}
		if n := inPeriod(now.Add(after)); n >= count {
			t.Fatalf("after %s there are still %d of %d", after, n, count)
		}
		if after > 0 && inPeriod(now.Add(after-time.Nanosecond)) < count {
			t.Fatalf("%s is longer than necessary", after)
		}
	})
}

// A request that waits for its turn ends with its client's connection.
func TestAWaitForALockEndsWithTheContext(t *testing.T) {
	var m KeyedMutex
	unlock, ok := m.Lock(t.Context(), "a")
	if !ok {
		t.Fatal("the first one doesn't get the lock")
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, ok := m.Lock(gone, "a"); ok {
		t.Error("two hold the lock")
	}
	unlock()
	if _, ok := m.Lock(t.Context(), "a"); !ok {
		t.Error("the lock was not freed")
	}
}

// A count may take long, as for an account with many orders. Only requests under the same limit wait for it.
func TestKeysDoNotShareAMutex(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m KeyedMutex
		unlock, _ := m.Lock(t.Context(), "tenant", "account")
		for i := range 1000 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			other, ok := m.Lock(ctx, "tenant", strconv.Itoa(i))
			if !ok {
				t.Fatalf("account %d waits for another one", i)
			}
			other()
			cancel()
		}
		waiting := make(chan func())
		go func() {
			next, _ := m.Lock(t.Context(), "tenant", "account")
			waiting <- next
		}()
		synctest.Wait()
		unlock()
		(<-waiting)()
		if len(m.locks) != 0 {
			t.Errorf("%d locks are kept", len(m.locks))
		}
	})
}

func TestClientAddress(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for name, c := range map[string]struct {
		peer      string
		forwarded []string
		want      string
	}{
		"directly":                          {"192.0.2.1:1234", nil, "192.0.2.1"},
		"directly, and saying otherwise":    {"192.0.2.1:1234", []string{"198.51.100.1"}, "192.0.2.1"},
		"through a proxy":                   {"10.0.0.1:1234", []string{"198.51.100.1"}, "198.51.100.1"},
		"through two":                       {"10.0.0.1:1234", []string{"198.51.100.1, 10.0.0.2"}, "198.51.100.1"},
		"through two with a header each":    {"[fd00::1]:1234", []string{"198.51.100.1", "10.0.0.2"}, "198.51.100.1"},
		"through a proxy, having lied":      {"10.0.0.1:1234", []string{"10.9.9.9, 203.0.113.9, 198.51.100.1"}, "198.51.100.1"},
		"through a proxy that says nothing": {"10.0.0.1:1234", nil, "10.0.0.1"},
		"through a proxy that says rubbish": {"10.0.0.1:1234", []string{"198.51.100.1, unknown"}, "10.0.0.1"},
		"from inside":                       {"10.0.0.1:1234", []string{"10.0.0.3"}, "10.0.0.3"},
		"over IPv6 with ports":              {"10.0.0.1:1234", []string{"[2001:db8:1:2::3]:99"}, "2001:db8:1:2::/64"},
		"an IPv4 address in IPv6":           {"[::ffff:192.0.2.1]:1234", nil, "192.0.2.1"},
		"with a zone":                       {"[fe80::1%eth0]:1234", nil, "fe80::/64"},
		"no address":                        {"@", nil, "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Origin(ClientAddress(c.peer, c.forwarded, trusted)); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestAttemptsAreBounded(t *testing.T) {
	var a Attempts
	now := time.Now()
	for i := range 2 * maxOrigins {
		for n := range 5 {
			a.Add(strconv.Itoa(i), Attempt{strconv.Itoa(n), now.Add(time.Duration(i) * time.Second)}, 3)
		}
	}
	latest := a.Of(strconv.Itoa(2*maxOrigins - 1))
	if len(a.byOrigin) != maxOrigins || len(latest) != 3 || latest[2].ID != "4" || len(a.Of("0")) != 0 {
		t.Errorf("%d origins, latest %v", len(a.byOrigin), latest)
	}
}
