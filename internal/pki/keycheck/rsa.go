package keycheck

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
	"sync"
)

const (
	minRSABits = 2048
	maxRSABits = 4096
	// minExponent is 2^16+1 (CA/B Baseline Requirements section 6.1.6). crypto/rsa takes none above 2^31-1.
	minExponent = 1<<16 + 1
	maxExponent = 1<<31 - 1
	// smallPrimes bounds the factors that are looked for; section 6.1.6 asks for 752.
	smallPrimes = 2048
	// fermatRounds finds primes that are much too close to each other, as a generator makes them that takes the next prime
	// for the second one; such keys fall in the first round or two. Section 6.1.1.3 asks for 100.
	fermatRounds = 100
)

func checkRSA(pub *rsa.PublicKey) error {
	if pub == nil || pub.N == nil || pub.N.Sign() <= 0 {
		return errors.New("the RSA key is incomplete")
	}
	// The size comes first, since it bounds what the other checks cost.
	bits := pub.N.BitLen()
	switch {
	case bits < minRSABits:
		return fmt.Errorf("the RSA key has %d bits, and needs at least %d", bits, minRSABits)
	case bits > maxRSABits:
		return fmt.Errorf("the RSA key has %d bits, and may have at most %d", bits, maxRSABits)
	case bits%8 != 0:
		return fmt.Errorf("the RSA key has %d bits, which is not a multiple of 8", bits)
	case pub.E < minExponent:
		return fmt.Errorf("the RSA key's public exponent is %d, and must be at least %d", pub.E, minExponent)
	case pub.E > maxExponent:
		return fmt.Errorf("the RSA key's public exponent is above %d", maxExponent)
	case pub.E%2 == 0:
		return errors.New("the RSA key's public exponent is even")
	case hasSmallFactor(pub.N):
		return errors.New("the RSA key's modulus is divisible by a small prime, so it is broken")
	case isROCA(pub.N):
		return errors.New("the RSA key was made by a generator with the ROCA weakness (CVE-2017-15361); make a new one elsewhere")
	case hasClosePrimes(pub.N, fermatRounds):
		return errors.New("the RSA key's primes are too close to each other, so it can be factored; make a new one")
	}
	return nil
}

// primesProduct is the product of all primes below smallPrimes.
var primesProduct = sync.OnceValue(func() *big.Int {
	product := big.NewInt(1)
	for _, p := range primesBelow(smallPrimes) {
		product.Mul(product, big.NewInt(p))
	}
	return product
})

func primesBelow(limit int64) []int64 {
	var primes []int64
	for n := int64(2); n < limit; n++ {
		if big.NewInt(n).ProbablyPrime(0) { // exact below 2^64
			primes = append(primes, n)
		}
	}
	return primes
}

func hasSmallFactor(n *big.Int) bool {
	return new(big.Int).GCD(nil, nil, n, primesProduct()).BitLen() > 1
}

// rocaMarks holds, for each prime by which a ROCA modulus leaves a telling remainder, which remainders those are.
//
// Infineon's library made primes of the form k*M + (65537^a mod M) with M a product of small primes (Nemec et al., "The
// Return of Coppersmith's Attack", section 2), so the modulus is a power of 65537 modulo each of them. The primes up to 167
// are in M for every size of key.
var rocaMarks = sync.OnceValue(func() map[uint64][]bool {
	marks := map[uint64][]bool{}
	for _, p := range primesBelow(168) {
		powers := make([]bool, p)
		size := int64(0)
		for x := int64(1); !powers[x%p]; x = x * (65537 % p) % p {
			powers[x%p] = true
			size++
		}
		if size < p-1 { // else every remainder is a power, and tells nothing
			marks[uint64(p)] = powers
		}
	}
	return marks
})

// isROCA is wrong about a good key once in some hundred million.
func isROCA(n *big.Int) bool {
	var remainder, divisor big.Int
	for p, powers := range rocaMarks() {
		if !powers[remainder.Mod(n, divisor.SetUint64(p)).Uint64()] {
			return false
		}
	}
	return true
}

// hasClosePrimes is Fermat's factorization: n = a^2 - b^2 with a little above its square root, tried for so many a.
func hasClosePrimes(n *big.Int, rounds int) bool {
	one := big.NewInt(1)
	a := new(big.Int).Sqrt(n)
	square := new(big.Int).Mul(a, a)
	if square.Cmp(n) < 0 {
		a.Add(a, one)
		square.Mul(a, a)
	}
	// rest is a^2 - n, which grows by 2a+1 when a grows by 1.
	rest := square.Sub(square, n)
	step := new(big.Int).Add(new(big.Int).Lsh(a, 1), one)
	two := big.NewInt(2)
	for range rounds {
		if isSquare(rest) {
			return true
		}
		rest.Add(rest, step)
		step.Add(step, two)
	}
	return false
}

// isSquare takes the root only of numbers whose last six bits a square can have, which are 12 of 64.
func isSquare(n *big.Int) bool {
	if n.Sign() == 0 {
		return true
	}
	var low uint64
	for i := range 6 {
		low |= uint64(n.Bit(i)) << i
	}
	const squaresModulo64 = 0x0202021202030213
	if squaresModulo64>>low&1 == 0 {
		return false
	}
	root := new(big.Int).Sqrt(n)
	return root.Mul(root, root).Cmp(n) == 0
}
