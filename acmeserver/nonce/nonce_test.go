package nonce

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// clock is a clock that the test sets.
type clock struct{ time.Time }

func (c *clock) now() time.Time { return c.Time }

func newClock() *clock { return &clock{time.Date(2031, 5, 17, 12, 0, 0, 0, time.UTC)} }

func source(t testing.TB, c *clock, size uint64) *Source {
	t.Helper()
	return replica(t, NewKeys(), "", c, size)
}

func replica(t testing.TB, keys *Keys, address string, c *clock, size uint64) *Source {
	t.Helper()
	s, err := newSource(keys, address, c.now, size)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var note = Note{1, 300, 1 << 63}

// try opens and redeems.
func try(s *Source, nonce string) error {
	n, err := s.Open(nonce)
	if err != nil {
		return err
	}
	return s.Redeem(n)
}

func redeem(t *testing.T, s *Source, nonce string, want error) {
	t.Helper()
	if err := try(s, nonce); !errors.Is(err, want) {
		t.Errorf("redeeming %q returns %v, not %v", nonce, err, want)
	}
}

func TestANonceIsRedeemedOnce(t *testing.T) {
	s := source(t, newClock(), 64)
	first, second := s.New(note), s.New(note)
	if first == second {
		t.Fatal("two nonces are the same")
	}
	redeem(t, s, second, nil)
	redeem(t, s, first, nil)
	redeem(t, s, first, ErrUsed)
	redeem(t, s, second, ErrUsed)
}

func TestANonceExpires(t *testing.T) {
	c := newClock()
	s := source(t, c, 64)
	young, old := s.New(note), s.New(note)
	c.Time = c.Add(Lifetime)
	redeem(t, s, young, nil)
	c.Time = c.Add(1)
	redeem(t, s, old, ErrExpired)
	redeem(t, s, young, ErrExpired)
	redeem(t, s, s.New(note), nil)
}

func TestAClockThatIsSetBackReplaysNothing(t *testing.T) {
	c := newClock()
	s := source(t, c, 64)
	nonce := s.New(note)
	redeem(t, s, nonce, nil)
	c.Time = c.Add(-24 * time.Hour)
	redeem(t, s, nonce, ErrUsed)
	redeem(t, s, s.New(note), nil)
}

func TestAFloodOverrunsTheOldestAlone(t *testing.T) {
	const size = 128
	s := source(t, newClock(), size)
	var nonces []string
	for range 3*size + 1 {
		nonces = append(nonces, s.New(note))
	}
	for i, nonce := range nonces {
		if i < len(nonces)-size {
			redeem(t, s, nonce, ErrExpired)
		} else {
			redeem(t, s, nonce, nil)
			redeem(t, s, nonce, ErrUsed)
		}
	}
}

func TestAnotherReplicaReadsTheNote(t *testing.T) {
	c, keys := newClock(), NewKeys()
	a, b := replica(t, keys, "10.0.0.1:8444", c, 64), replica(t, keys, "[fd00::2]:8444", c, 64)
	nonce := a.New(note)
	n, err := b.Open(nonce)
	if err != nil || n.Address != "10.0.0.1:8444" || n.Note != note || b.Own(n) {
		t.Errorf("%+v, %v", n, err)
	}
	if strings.Contains(nonce, "10.0.0.1") {
		t.Error("everybody can read the address")
	}
	redeem(t, b, nonce, ErrForeign)
	redeem(t, a, nonce, nil)
	redeem(t, b, nonce, ErrForeign)
	redeem(t, a, nonce, ErrUsed)
}

// A nonce used before a restart must not be redeemed after it, at the same address and with the same keys.
func TestANonceFromBeforeARestartIsAnothers(t *testing.T) {
	c, keys := newClock(), NewKeys()
	before, after := replica(t, keys, "10.0.0.1:8444", c, 64), replica(t, keys, "10.0.0.1:8444", c, 64)
	used, unused := before.New(note), before.New(note)
	redeem(t, before, used, nil)
	redeem(t, after, used, ErrForeign)
	redeem(t, after, unused, ErrForeign)
}

func TestANonceUnderAnotherKeyIsUnknown(t *testing.T) {
	a, b := source(t, newClock(), 64), source(t, newClock(), 64)
	redeem(t, b, a.New(note), ErrUnknown)
}

func TestKeysAreReplaced(t *testing.T) {
	secret := func(b byte) []byte { return bytes.Repeat([]byte{b}, SecretSize) }
	set := func(k *Keys, secrets ...[]byte) {
		t.Helper()
		if err := k.Set(secrets...); err != nil {
			t.Fatal(err)
		}
	}
	c, ofA, ofB := newClock(), NewKeys(), NewKeys()
	a, b := replica(t, ofA, "a", c, 64), replica(t, ofB, "b", c, 64)
	set(ofA, secret(2), secret(1), secret(3))
	set(ofB, secret(1), secret(0), secret(2)) // does not know the third yet
	redeem(t, b, a.New(note), ErrForeign)
	redeem(t, a, b.New(note), ErrForeign)
	old := b.New(note)
	set(ofB, secret(2), secret(1), secret(3))
	redeem(t, b, old, nil)
	set(ofB, secret(3), secret(2), secret(4))
	redeem(t, a, b.New(note), ErrForeign)
	redeem(t, b, old, ErrUnknown)
}

func TestSecrets(t *testing.T) {
	keys := NewKeys()
	s := replica(t, keys, "", newClock(), 64)
	nonce := s.New(note)
	for name, secrets := range map[string][][]byte{"none": nil, "short": {make([]byte, SecretSize), make([]byte, SecretSize-1)}} {
		if keys.Set(secrets...) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	redeem(t, s, nonce, nil) // the keys are unchanged
}

func TestEveryChangedBitIsNoticed(t *testing.T) {
	s := source(t, newClock(), 64)
	nonce := s.New(note)
	raw, err := encoding.DecodeString(nonce)
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(raw) * 8 {
		raw[i/8] ^= 1 << (i % 8)
		if err := try(s, encoding.EncodeToString(raw)); err == nil || errors.Is(err, ErrUsed) {
			t.Errorf("bit %d changed: %v", i, err)
		}
		raw[i/8] ^= 1 << (i % 8)
	}
	redeem(t, s, nonce, nil)
}

func TestMalformedNonces(t *testing.T) {
	s := source(t, newClock(), 64)
	good := s.New(note)
	encode := base64.RawURLEncoding.EncodeToString
	for name, nonce := range map[string]string{
		"empty":                   "",
		"short":                   "AAAA",
		"padding":                 good + "=",
		"line break":              good[:8] + "\n" + good[8:],
		"carriage return":         good + "\r",
		"white space":             " " + good,
		"standard alphabet":       strings.Repeat("+", len(good)),
		"longer":                  good + strings.Repeat("A", MaxSize-len(good)+1),
		"huge":                    strings.Repeat("A", 1<<16),
		"one byte too short":      encode(make([]byte, minSealed-1)),
		"longer than the longest": encode(make([]byte, encoding.DecodedLen(MaxSize)+1)),
	} {
		t.Run(name, func(t *testing.T) {
			redeem(t, s, nonce, ErrMalformed)
		})
	}
	redeem(t, s, good[:len(good)-4], ErrUnknown)
	redeem(t, s, good, nil)
}

// A nonce is in the header of each signed request that is stored.
func TestANonceIsShort(t *testing.T) {
	c := newClock()
	s := replica(t, NewKeys(), "10.244.103.17:14002", c, Window)
	c.Time = c.Add(400 * 24 * time.Hour)
	s.window.latest = 1e8
	nonce := s.New(Note{2e9, 2e9, 2e9})
	if len(nonce) > 64 {
		t.Errorf("%d characters", len(nonce))
	}
	redeem(t, s, nonce, nil)
}

func TestAddresses(t *testing.T) {
	for _, address := range []string{"", "10.0.0.1:8444", "[fd00::2]:8444", "[::ffff:10.0.0.1]:8444", "[fe80::1%eth0]:1", "10.0.0.1:08444",
		"[FD00::2]:8444", "server-0.acmeca:8444", strings.Repeat("a", maxAddress)} {
		s, err := NewSource(NewKeys(), address, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		nonce := s.New(note)
		if n, err := s.Open(nonce); err != nil || n.Address != address {
			t.Errorf("%q: %+v, %v", address, n, err)
		}
		redeem(t, s, nonce, nil)
		if len(nonce) > MaxSize {
			t.Errorf("%q: a nonce of %d characters", address, len(nonce))
		}
	}
	if _, err := NewSource(NewKeys(), strings.Repeat("a", maxAddress+1), time.Now); err == nil {
		t.Error("an address that is too long is accepted")
	}
}

// RFC 8555 section 6.5.1: base64url without padding. The counter must not be visible.
func TestTheFormOfANonce(t *testing.T) {
	s := source(t, newClock(), 64)
	seen := map[string]bool{}
	for range 200 {
		nonce := s.New(note)
		if strings.Trim(nonce, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			t.Fatalf("%q has characters that a nonce can't have", nonce)
		}
		if seen[nonce] {
			t.Fatalf("%q was issued twice", nonce)
		}
		seen[nonce] = true
	}
}

func TestOfManyAtOnceOneRedeems(t *testing.T) {
	s := source(t, newClock(), 1<<12)
	const nonces, clients = 200, 8
	var redeemed atomic.Int64
	var wait sync.WaitGroup
	for range nonces {
		nonce := s.New(note)
		for range clients {
			wait.Go(func() {
				s.New(note) // the window moves on meanwhile
				switch err := try(s, nonce); {
				case err == nil:
					redeemed.Add(1)
				case !errors.Is(err, ErrUsed):
					t.Error(err)
				}
			})
		}
	}
	wait.Wait()
	if n := redeemed.Load(); n != nonces {
		t.Errorf("%d nonces were redeemed %d times", nonces, n)
	}
}

// The ring of bits behaves as a set of the redeemed counters.
func TestTheWindowIsASetOfTheNewest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := 64 * rapid.Uint64Range(1, 3).Draw(t, "words")
		w, latest, used := newWindow(size), uint64(0), map[uint64]bool{}
		for range rapid.IntRange(1, 600).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "make") {
				latest++
				if c := w.next(); c != latest {
					t.Fatalf("the counter after %d is %d", latest-1, c)
				}
				continue
			}
			c := rapid.Uint64Range(1, latest+2).Draw(t, "counter")
			var want error
			switch {
			case c > latest || latest-c >= size:
				want = ErrExpired
			case used[c]:
				want = ErrUsed
			}
			if err := w.use(c); !errors.Is(err, want) {
				t.Fatalf("using %d of %d returns %v, not %v", c, latest, err, want)
			}
			used[c] = used[c] || want == nil
		}
	})
}

func FuzzRedeem(f *testing.F) {
	c, keys := newClock(), NewKeys()
	s, other := replica(f, keys, "a", c, 64), replica(f, keys, "b", c, 64)
	f.Add("")
	f.Add("AAAA")
	f.Add(other.New(note) + "=")
	f.Add(encoding.EncodeToString(make([]byte, minSealed)))
	f.Fuzz(func(t *testing.T, nonce string) {
		if err := try(s, nonce); !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnknown) {
			t.Errorf("%q was never issued, and redeeming it returns %v", nonce, err)
		}
	})
}

func BenchmarkNew(b *testing.B) {
	s, err := NewSource(NewKeys(), "10.0.0.1:8444", time.Now)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			s.New(note)
		}
	})
}

func BenchmarkNewAndRedeem(b *testing.B) {
	s, err := NewSource(NewKeys(), "10.0.0.1:8444", time.Now)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := try(s, s.New(note)); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
