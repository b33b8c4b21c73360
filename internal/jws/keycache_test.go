package jws_test

import (
	"crypto/ed25519"
	"testing"

	"github.com/acmeca/acmeca/internal/jws"
)

func TestKeyCache(t *testing.T) {
	var cache jws.KeyCache
	var first, last string
	for i := range 5000 { // more than it holds
		public := ed25519.NewKeyFromSeed(append(make([]byte, 30), byte(i), byte(i>>8))).Public()
		key, problem := jws.NewKey(public)
		if problem != nil {
			t.Fatal(problem)
		}
		last = string(key.JSON())
		if first == "" {
			first = last
		}
		if got, problem := cache.Parse(last); problem != nil || !got.Equal(key) {
			t.Fatalf("Parse(%s) = %v, %v", last, got, problem)
		}
	}
	again, problem := cache.Parse(last)
	if same, _ := cache.Parse(last); problem != nil || again != same {
		t.Errorf("a key that was just parsed was parsed again")
	}
	if key, problem := cache.Parse(first); problem != nil || string(key.JSON()) != first {
		t.Errorf("Parse(%s) = %v, %v after others", first, key, problem)
	}
	for range 2 {
		if _, problem := cache.Parse(`{"kty":"oct","k":"AAAA"}`); problem == nil {
			t.Errorf("a key that isn't accepted was parsed")
		}
	}
}
