package nonce

import (
	"encoding/base64"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// clock is a time that moves when the test says so.
type clock struct{ time.Time }

func (c *clock) now() time.Time { return c.Time }

func newClock() *clock { return &clock{time.Date(2031, 5, 17, 12, 0, 0, 0, time.UTC)} }

func source(t testing.TB, replica string, c *clock, size uint64) *Source {
	t.Helper()
	s, err := newSource(replica, c.now, size)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func redeem(t *testing.T, s *Source, nonce string, want error) {
	t.Helper()
	if err := s.Redeem(nonce); !errors.Is(err, want) {
		t.Errorf("redeeming %q gives %v, not %v", nonce, err, want)
	}
}

func TestANonceIsRedeemedOnce(t *testing.T) {
	s := source(t, "a", newClock(), 64)
	first, second := s.New(), s.New()
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
	s := source(t, "a", c, 64)
	young, old := s.New(), s.New()
	c.Time = c.Add(Lifetime)
	redeem(t, s, young, nil)
	c.Time = c.Add(1)
	redeem(t, s, old, ErrExpired)
	redeem(t, s, young, ErrExpired)
	redeem(t, s, s.New(), nil)
}

func TestAClockThatIsSetBackReplaysNothing(t *testing.T) {
	c := newClock()
	s := source(t, "a", c, 64)
	nonce := s.New()
	redeem(t, s, nonce, nil)
	c.Time = c.Add(-24 * time.Hour)
	redeem(t, s, nonce, ErrUsed)
	redeem(t, s, s.New(), nil)
}

func TestAFloodOverrunsTheOldestAlone(t *testing.T) {
	const size = 128
	s := source(t, "a", newClock(), size)
	var nonces []string
	for range 3*size + 1 {
		nonces = append(nonces, s.New())
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

func TestWhoMadeANonce(t *testing.T) {
	c := newClock()
	a, b := source(t, "acmeca-server-0.a", c, 64), source(t, "acmeca-server-1", c, 64)
	nonce := a.New()
	if replica, ok := Issuer(nonce); !ok || replica != "acmeca-server-0.a" {
		t.Errorf("the issuer is %q, %v", replica, ok)
	}
	redeem(t, b, nonce, ErrForeign)
	redeem(t, a, nonce, nil)
}

func TestANonceFromBeforeARestartIsUnknown(t *testing.T) {
	c := newClock()
	before, after := source(t, "a", c, 64), source(t, "a", c, 64)
	redeem(t, after, before.New(), ErrUnknown)
}

func TestANonceOfAnotherReplicaUnderOnesOwnNameIsUnknown(t *testing.T) {
	c := newClock()
	a, b := source(t, "a", c, 64), source(t, "b", c, 64)
	raw, err := encoding.DecodeString(b.New())
	if err != nil {
		t.Fatal(err)
	}
	raw[1] = 'a'
	redeem(t, a, encoding.EncodeToString(raw), ErrUnknown)
	// The name is authenticated, so that not even the maker's own nonce passes under another name.
	own := source(t, "a", c, 64)
	own.aead = b.aead
	redeem(t, own, encoding.EncodeToString(raw), ErrUnknown)
}

func TestEveryChangedBitIsNoticed(t *testing.T) {
	s := source(t, "a", newClock(), 64)
	nonce := s.New()
	raw, err := encoding.DecodeString(nonce)
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(raw) * 8 {
		raw[i/8] ^= 1 << (i % 8)
		if err := s.Redeem(encoding.EncodeToString(raw)); err == nil || errors.Is(err, ErrUsed) {
			t.Errorf("bit %d changed: %v", i, err)
		}
		raw[i/8] ^= 1 << (i % 8)
	}
	redeem(t, s, nonce, nil)
}

func TestMalformedNonces(t *testing.T) {
	s := source(t, "a", newClock(), 64)
	good := s.New()
	encode := base64.RawURLEncoding.EncodeToString
	for name, nonce := range map[string]string{
		"empty":                 "",
		"short":                 "AAAA",
		"padding":               good + "=",
		"line break":            good[:8] + "\n" + good[8:],
		"carriage return":       good + "\r",
		"white space":           " " + good,
		"standard alphabet":     strings.Repeat("+", len(good)),
		"cut":                   good[:len(good)-4],
		"longer":                good + "AAAA",
		"huge":                  strings.Repeat("A", 1<<16),
		"no name":               encode(make([]byte, fixedSize)),
		"name longer than all":  encode(append([]byte{255}, make([]byte, fixedSize)...)),
		"name in upper case":    encode(append([]byte{1, 'A'}, make([]byte, fixedSize-1)...)),
		"name with a line feed": encode(append([]byte{1, '\n'}, make([]byte, fixedSize-1)...)),
	} {
		t.Run(name, func(t *testing.T) {
			redeem(t, s, nonce, ErrMalformed)
			if replica, ok := Issuer(nonce); ok {
				t.Errorf("the issuer is %q", replica)
			}
		})
	}
	redeem(t, s, good, nil)
}

func TestReplicaNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "acmeca-server-7d9c5b-x2x.b": true, strings.Repeat("a", 63): true,
		"": false, strings.Repeat("a", 64): false, "A": false, "a/b": false, "ä": false, "a b": false, "a\n": false,
	} {
		s, err := NewSource(name, time.Now)
		if (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
		if err == nil {
			redeem(t, s, s.New(), nil)
		}
	}
}

// RFC 8555 section 6.5.1: base64url without padding; and nothing of the count may be seen in it.
func TestTheFormOfANonce(t *testing.T) {
	s := source(t, "a", newClock(), 64)
	seen := map[string]bool{}
	for range 200 {
		nonce := s.New()
		if strings.Trim(nonce, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			t.Fatalf("%q has characters that a nonce can't have", nonce)
		}
		if seen[nonce] {
			t.Fatalf("%q was made twice", nonce)
		}
		seen[nonce] = true
	}
}

func TestOfManyAtOnceOneRedeems(t *testing.T) {
	s := source(t, "a", newClock(), 1<<12)
	const nonces, clients = 200, 8
	var redeemed atomic.Int64
	var wait sync.WaitGroup
	for range nonces {
		nonce := s.New()
		for range clients {
			wait.Go(func() {
				s.New() // the window moves on meanwhile
				switch err := s.Redeem(nonce); {
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

// The ring of bits against the plain thing: a set of all that was redeemed.
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
				t.Fatalf("using %d of %d gives %v, not %v", c, latest, err, want)
			}
			used[c] = used[c] || want == nil
		}
	})
}

func FuzzRedeem(f *testing.F) {
	c := newClock()
	s, err := newSource("a", c.now, 64)
	if err != nil {
		f.Fatal(err)
	}
	foreign, err := newSource("b-1.c", c.now, 64)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("")
	f.Add("AAAA")
	f.Add(foreign.New() + "=")
	f.Add(foreign.New())
	f.Add(encoding.EncodeToString(make([]byte, fixedSize)))
	f.Add(encoding.EncodeToString(append([]byte{1, 'a'}, make([]byte, fixedSize-1)...)))
	f.Fuzz(func(t *testing.T, nonce string) {
		err := s.Redeem(nonce)
		if err == nil {
			t.Errorf("%q is redeemed, and was never made", nonce)
		}
		if _, ok := Issuer(nonce); ok == errors.Is(err, ErrMalformed) {
			t.Errorf("%q: an issuer is found: %v; redeeming gives %v", nonce, ok, err)
		}
	})
}

func BenchmarkNew(b *testing.B) {
	s, err := NewSource("acmeca-server-0", time.Now)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			s.New()
		}
	})
}

func BenchmarkNewAndRedeem(b *testing.B) {
	s, err := NewSource("acmeca-server-0", time.Now)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := s.Redeem(s.New()); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
