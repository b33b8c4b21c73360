package pool

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/acmeca/acmeca/controllers/validation"
)

// stall is a pool whose attempts run until the test ends them. It records the started and reported attempts in order. Its tests
// run in a synctest bubble: settle returns when every goroutine is blocked.
type stall struct {
	*Pool
	mu       sync.Mutex
	started  []string
	reported []string
	gates    map[string]chan struct{}
}

func newStall(c Config) *stall {
	return &stall{Pool: New(c), gates: map[string]chan struct{}{}}
}

// submit adds an attempt with the key "account/name" at the target.
func (s *stall) submit(account, name, target string) bool {
	key := account + "/" + name
	gate := make(chan struct{})
	taken := s.Submit(key, account, target, func(ctx context.Context) validation.Result {
		s.mu.Lock()
		s.started = append(s.started, key)
		s.gates[key] = gate
		s.mu.Unlock()
		select {
		case <-gate:
			return validation.Result{Valid: true}
		case <-ctx.Done():
			return validation.Result{Transient: true}
		}
	}, func(r validation.Result) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.reported = append(s.reported, fmt.Sprint(key, " ", r.Valid))
	})
	synctest.Wait()
	return taken
}

func (s *stall) finish(key string) {
	s.mu.Lock()
	gate := s.gates[key]
	delete(s.gates, key)
	s.mu.Unlock()
	close(gate)
	synctest.Wait()
}

func (s *stall) expect(t *testing.T, started ...string) {
	t.Helper()
	equal(t, "started", s.started, started)
	s.started = nil
}

func TestPoolBlackHolesDontSlowOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStall(Config{Size: 4, PerAccount: 3})
		defer s.Close()
		for i := range 100 {
			s.submit("bad", fmt.Sprint(i), fmt.Sprint("hole", i))
		}
		s.expect(t, "bad/0", "bad/1", "bad/2")
		for i := range 100 { // while none of bad's ends, good's go on, one after the other
			key := fmt.Sprint("good/", i)
			s.submit("good", fmt.Sprint(i), "host")
			s.expect(t, key)
			s.finish(key)
		}
		if running, waiting := s.Load(); running != 3 || waiting != 97 {
			t.Errorf("%d running, %d waiting", running, waiting)
		}
	})
}

func TestPoolAccountsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStall(Config{Size: 1})
		defer s.Close()
		s.submit("first", "0", "x")
		for i := range 3 {
			s.submit("many", fmt.Sprint(i), "x")
		}
		s.submit("few", "0", "x")
		s.submit("other", "0", "x")
		s.submit("other", "1", "x")
		for _, key := range []string{"first/0", "many/0", "few/0", "other/0", "many/1", "other/1", "many/2"} {
			s.expect(t, key)
			s.finish(key)
		}
		s.expect(t)
	})
}

func TestPoolBoundsTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStall(Config{Size: 10, PerTarget: 2})
		defer s.Close()
		s.submit("a", "0", "x")
		s.submit("b", "0", "x")
		s.submit("a", "1", "x")
		s.submit("c", "0", "x")
		s.expect(t, "a/0", "b/0")
		s.submit("a", "2", "y") // not held up by the busy target in front of it
		s.expect(t, "a/2")
		s.finish("b/0")
		s.finish("a/0")
		s.expect(t, "c/0", "a/1") // a had its turn with a/2
	})
}

func TestPoolTakesAKeyOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStall(Config{Size: 1})
		defer s.Close()
		for range 2 { // running, then waiting
			for _, name := range []string{"0", "1"} {
				if !s.submit("a", name, "x") {
					t.Error("not taken")
				}
			}
		}
		s.expect(t, "a/0")
		s.finish("a/0")
		s.finish("a/1")
		s.expect(t, "a/1")
		equal(t, "reported", s.reported, []string{"a/0 true", "a/1 true"})
		s.submit("a", "0", "x")
		s.expect(t, "a/0") // it has reported, so it may run again
	})
}

func TestPoolHoldsTheKeyWhileReporting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{Size: 1})
		defer p.Close()
		runs, written := 0, make(chan struct{})
		submit := func() bool {
			return p.Submit("key", "a", "x", func(context.Context) validation.Result { runs++; return validation.Result{} }, func(validation.Result) { <-written })
		}
		submit()
		synctest.Wait()
		if running, _ := p.Load(); running != 0 {
			t.Error("a slow report holds its place")
		}
		if !submit() {
			t.Error("not known while it reports")
		}
		close(written)
		synctest.Wait()
		if runs != 1 {
			t.Errorf("%d runs", runs)
		}
		submit()
		synctest.Wait()
		if runs != 2 {
			t.Errorf("%d runs after the report", runs)
		}
	})
}

func TestPoolCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStall(Config{Size: 1})
		defer s.Close()
		s.Cancel("unknown")
		s.submit("a", "0", "x")
		s.submit("a", "1", "x")
		s.submit("b", "0", "x")
		s.submit("b", "1", "x")
		s.Cancel("a/1") // waiting, and its account's last
		s.Cancel("b/0") // waiting
		s.Cancel("a/0") // running
		s.Cancel("a/0")
		synctest.Wait()
		s.expect(t, "a/0", "b/1")
		equal(t, "reported", s.reported, nil)
		s.submit("a", "0", "x") // waits for b/1
		s.finish("b/1")
		s.expect(t, "a/0")
		equal(t, "reported", s.reported, []string{"b/1 true"})
	})
}

// A key that is cancelled while its attempt runs may be submitted again at once. The end of the first run does not affect the
// second one.
func TestPoolCancelAndSubmitAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{})
		defer p.Close()
		stuck := make(chan struct{})
		var reports []string
		p.Submit("key", "a", "x", func(context.Context) validation.Result { <-stuck; return validation.Result{} },
			func(validation.Result) { reports = append(reports, "first") })
		synctest.Wait()
		p.Cancel("key")
		second := make(chan struct{})
		p.Submit("key", "a", "x", func(context.Context) validation.Result { <-second; return validation.Result{} },
			func(validation.Result) { reports = append(reports, "second") })
		close(stuck)
		synctest.Wait()
		p.Submit("key", "a", "x", func(context.Context) validation.Result { return validation.Result{} },
			func(validation.Result) { reports = append(reports, "third") })
		close(second)
		synctest.Wait()
		equal(t, "reports", reports, []string{"second"})
	})
}

func TestPoolBoundsWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStall(Config{Size: 1, WaitingPerAccount: 2})
		defer s.Close()
		s.submit("a", "running", "x")
		for i, want := range []bool{true, true, false} {
			if got := s.submit("a", fmt.Sprint(i), "x"); got != want {
				t.Errorf("attempt %d: taken is %v", i, got)
			}
		}
		if !s.submit("b", "0", "x") {
			t.Error("another account isn't taken")
		}
	})
}

func TestPoolClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStall(Config{Size: 2})
		for _, name := range []string{"0", "1", "2"} {
			s.submit("a", name, "x")
		}
		s.Close()
		s.expect(t, "a/0", "a/1")
		equal(t, "reported", s.reported, nil)
		if s.submit("a", "3", "x") {
			t.Error("taken after Close")
		}
		if running, waiting := s.Load(); running != 0 || waiting != 0 {
			t.Errorf("%d running, %d waiting", running, waiting)
		}
		s.Cancel("a/2")
		s.Close()
	})
}

// In every order of events the bounds hold, every attempt reports once, and the pool is empty in the end.
func TestPoolUnderLoad(t *testing.T) {
	limits := Config{Size: 8, PerAccount: 4, PerTarget: 3}
	p := New(limits)
	var mu sync.Mutex
	var all, reports sync.WaitGroup
	accounts, targets, total, done := map[string]int{}, map[string]int{}, 0, []string{}
	count := func(account, target string, by int) {
		mu.Lock()
		defer mu.Unlock()
		total += by
		accounts[account] += by
		targets[target] += by
		if total > limits.Size || accounts[account] > limits.PerAccount || targets[target] > limits.PerTarget {
			t.Errorf("%d running, %d of %s, %d at %s", total, accounts[account], account, targets[target], target)
		}
	}
	const n = 2000
	reports.Add(n)
	for worker := range 4 {
		all.Go(func() {
			for i := worker; i < n; i += 4 {
				key, account, target := fmt.Sprint(i), fmt.Sprint("account", i%7), fmt.Sprint("target", i%5)
				p.Submit(key, account, target, func(context.Context) validation.Result {
					count(account, target, 1)
					defer count(account, target, -1)
					return validation.Result{}
				}, func(validation.Result) {
					mu.Lock()
					defer mu.Unlock()
					done = append(done, key)
					reports.Done()
				})
			}
		})
	}
	all.Wait()
	reports.Wait()
	p.Close()
	slices.Sort(done)
	if len(slices.Compact(done)) != n {
		t.Errorf("%d attempts reported", len(done))
	}
	if len(p.jobs)+len(p.accounts)+len(p.targets)+len(p.turns)+p.running+p.waiting != 0 {
		t.Errorf("left behind: %+v", p)
	}
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}
