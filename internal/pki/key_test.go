package pki

import (
	"crypto"
	"crypto/dsa"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"math/big"
	mathrand "math/rand/v2"
	"strings"
	"testing"
)

// dice has a fixed seed: any numbers of the right form will do.
var dice = mathrand.New(mathrand.NewPCG(1, 2))

// number returns a random number of exactly this many bits. The four highest bits are set, so that the size of a product is the
// sum of the sizes.
func number(bits int) *big.Int {
	n := new(big.Int)
	for range bits {
		n.Lsh(n, 1).SetBit(n, 0, dice.UintN(2))
	}
	for i := range 4 {
		n.SetBit(n, bits-1-i, 1)
	}
	return n
}

func prime(bits int) *big.Int { return nextPrime(number(bits)) }

func nextPrime(n *big.Int) *big.Int {
	n = new(big.Int).SetBit(n, 0, 1)
	for n.Add(n, big.NewInt(2)); !n.ProbablyPrime(1); n.Add(n, big.NewInt(2)) {
	}
	return n
}

func product(factors ...*big.Int) *big.Int {
	n := big.NewInt(1)
	for _, factor := range factors {
		n.Mul(n, factor)
	}
	return n
}

// rocaPrime has the form that Infineon's library gave its primes.
func rocaPrime(bits int) *big.Int {
	m := big.NewInt(1)
	for _, p := range primesBelow(702) { // 126 primes, as for keys of 2048 bits
		m.Mul(m, big.NewInt(p))
	}
	base := new(big.Int).Exp(big.NewInt(65537), number(64), m)
	for {
		p := product(m, number(bits-m.BitLen()))
		if p.Add(p, base); p.BitLen() == bits && p.ProbablyPrime(1) {
			return p
		}
	}
}

func rsaKey(n *big.Int) *rsa.PublicKey { return &rsa.PublicKey{N: n, E: 65537} }

func point(x, y int64) *ecdsa.PublicKey {
	return &ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(x), Y: big.NewInt(y)}
}

func public[K crypto.Signer](key K, err error) crypto.PublicKey {
	if err != nil {
		panic(err)
	}
	return key.Public()
}

func TestCheck(t *testing.T) {
	p, q := prime(1024), prime(1024)
	n := product(p, q)
	p521 := public(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))
	ed, _, _ := ed25519.GenerateKey(rand.Reader)

	for _, test := range []struct {
		name string
		key  crypto.PublicKey
		want string // a part of the error; "" accepts
	}{
		{"RSA-2048", rsaKey(n), ""},
		{"RSA-2056", rsaKey(product(p, prime(1032))), ""},
		{"RSA-4096", rsaKey(product(p, p, q, prime(1024))), ""},
		{"RSA largest exponent", &rsa.PublicKey{N: n, E: 1<<31 - 1}, ""},
		{"RSA nil", (*rsa.PublicKey)(nil), "incomplete"},
		{"RSA without modulus", &rsa.PublicKey{E: 65537}, "incomplete"},
		{"RSA negative", rsaKey(new(big.Int).Neg(n)), "incomplete"},
		{"RSA-2047", rsaKey(product(p, prime(1023))), "2047 bits"},
		{"RSA-1024", rsaKey(product(prime(512), prime(512))), "at least 2048"},
		{"RSA-2052", rsaKey(product(p, prime(1028))), "multiple of 8"},
		{"RSA-4104", rsaKey(number(4104)), "at most 4096"},
		{"RSA huge", rsaKey(new(big.Int).Lsh(n, 1<<20)), "at most 4096"},
		{"RSA exponent 3", &rsa.PublicKey{N: n, E: 3}, "exponent is 3"},
		{"RSA exponent 1", &rsa.PublicKey{N: n, E: 1}, "exponent is 1"},
		{"RSA exponent -65537", &rsa.PublicKey{N: n, E: -65537}, "exponent is -65537"},
		{"RSA exponent even", &rsa.PublicKey{N: n, E: 65538}, "even"},
		{"RSA exponent too large", &rsa.PublicKey{N: n, E: 1<<31 + 1}, "above"},
		{"RSA even modulus", rsaKey(product(number(2047), big.NewInt(2))), "small prime"},
		{"RSA factor 751", rsaKey(product(p, prime(1014), big.NewInt(751))), "small prime"},
		{"RSA factor 2039", rsaKey(product(p, prime(1013), big.NewInt(2039))), "small prime"},
		{"RSA ROCA", rsaKey(product(rocaPrime(1024), rocaPrime(1024))), "ROCA"},
		{"RSA one ROCA prime", rsaKey(product(rocaPrime(1024), q)), ""},
		{"RSA neighbouring primes", rsaKey(product(p, nextPrime(p))), "too close"},
		{"RSA square of a prime", rsaKey(product(p, p)), "too close"},
		{"RSA primes close in the upper half", rsaKey(product(p, nextPrime(new(big.Int).Add(p, number(515))))), "too close"},

		{"P-256", public(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), ""},
		{"P-384", public(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)), ""},
		{"P-521", p521, "P-521"},
		{"P-224", public(ecdsa.GenerateKey(elliptic.P224(), rand.Reader)), "P-224"},
		{"ECDSA nil", (*ecdsa.PublicKey)(nil), "incomplete"},
		{"ECDSA empty", &ecdsa.PublicKey{}, "incomplete"},
		{"ECDSA without point", &ecdsa.PublicKey{Curve: elliptic.P256()}, "incomplete"},
		{"ECDSA off the curve", point(1, 1), "not a point"},
		{"ECDSA at infinity", point(0, 0), "not a point"},
		{"ECDSA negative", point(-1, 1), "not a point"},
		{"ECDSA above the field", &ecdsa.PublicKey{Curve: elliptic.P256(), X: number(300), Y: number(300)}, "not a point"},

		{"Ed25519", ed, ""},
		{"Ed25519 short", ed[:31], "32 bytes"},
		{"Ed25519 nil", ed25519.PublicKey(nil), "32 bytes"},

		{"DSA", &dsa.PublicKey{}, "unknown kind"},
		{"nil", nil, "unknown kind"},
		{"RSA by value", *rsaKey(n), "unknown kind"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := CheckKey(test.key, KeyOptions{})
			switch {
			case test.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want %q in it", err, test.want)
			}
		})
	}
	if err := CheckKey(p521, KeyOptions{AllowP521: true}); err != nil {
		t.Errorf("P-521 is allowed, but refused: %v", err)
	}
}

// For each of the points of small order there is a message that the signature (R = identity, S = 0) is good for, and such a
// key is one that CheckKey refuses.
func TestSmallOrderKeysSignAnything(t *testing.T) {
	identity := append([]byte{1}, make([]byte, 31)...)
	forged := append(identity, make([]byte, 32)...)
	for _, encoded := range smallOrder {
		key, err := hex.DecodeString(encoded)
		if err != nil {
			t.Fatal(err)
		}
		forgeable := false
		for message := range 64 {
			forgeable = forgeable || ed25519.Verify(key, []byte{byte(message)}, forged)
		}
		if !forgeable {
			t.Errorf("%s is not of small order", encoded)
		}
		for _, sign := range []byte{0, 0x80} {
			key[31] ^= sign
			if CheckKey(ed25519.PublicKey(key), KeyOptions{}) == nil {
				t.Errorf("%x is accepted", key)
			}
		}
	}
}

func TestFermatFindsWithinTheRounds(t *testing.T) {
	// 2a = p+q, and a starts at the root of pq: a distance of 2d puts it d^2/(2 sqrt(pq)) rounds away.
	p := prime(64)
	for _, test := range []struct {
		distance int
		found    bool
	}{{34, true}, {50, false}} {
		q := nextPrime(new(big.Int).Add(p, new(big.Int).Lsh(big.NewInt(1), uint(test.distance))))
		if got := hasClosePrimes(product(p, q), fermatRounds); got != test.found {
			t.Errorf("primes 2^%d apart: found = %v", test.distance, got)
		}
	}
}

func TestRocaMarks(t *testing.T) {
	// 65537 generates all remainders but 0 modulo 3, and half of them or less modulo the others, such as 11, where its
	// powers are 10 and 1.
	marks := rocaMarks()
	if _, telling := marks[3]; telling {
		t.Error("3 tells nothing")
	}
	if eleven := marks[11]; !eleven[1] || !eleven[10] || eleven[2] {
		t.Errorf("remainders modulo 11: %v", eleven)
	}
}

func BenchmarkCheckRSA4096(b *testing.B) {
	key := rsaKey(product(prime(1024), prime(1024), prime(1024), prime(1024)))
	for b.Loop() {
		if err := CheckKey(key, KeyOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
