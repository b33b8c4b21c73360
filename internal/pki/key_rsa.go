package pki

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
	// minExponent is 2^16+1 (CA/B Baseline Requirements section 6.1.6). crypto/rsa refuses exponents above 2^31-1.
	minExponent = 1<<16 + 1
	maxExponent = 1<<31 - 1
	// smallPrimes bounds the trial divisors. Section 6.1.6 requires at least 752.
	smallPrimes = 2048
	// fermatRounds is the number of rounds of Fermat's factorization. It factors a modulus whose primes are much too close,
	// such as a prime and its successor, in the first round or two. Section 6.1.1.3 requires 100.
	fermatRounds = 100
)

func checkRSA(pub *rsa.PublicKey) error {
	if pub == nil || pub.N == nil || pub.N.Sign() <= 0 {
		return errors.New("the RSA key is incomplete")
	}
	// The size is checked first, because it bounds the cost of the other checks.
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

// rocaMarks maps each prime that distinguishes a ROCA modulus to the remainders that such a modulus can have.
//
// Infineon's library made primes of the form k*M + (65537^a mod M), where M is a product of small primes (Nemec et al., "The
// Return of Coppersmith's Attack", section 2). So the modulus is a power of 65537 modulo each of these primes. M contains the
// primes up to 167 for every key size.
var rocaMarks = sync.OnceValue(func() map[uint64][]bool {
	marks := map[uint64][]bool{}
	for _, p := range primesBelow(168) {
		powers := make([]bool, p)
		size := int64(0)
		for x := int64(1); !powers[x%p]; x = x * (65537 % p) % p {
			powers[x%p] = true
			size++
		}
		if size < p-1 { // else every remainder is a power, and distinguishes nothing
			marks[uint64(p)] = powers
		}
	}
	return marks
})

// isROCA reports whether a modulus has the ROCA form. It refuses a good key about once in a hundred million.
func isROCA(n *big.Int) bool {
	var remainder, divisor big.Int
	for p, powers := range rocaMarks() {
		if !powers[remainder.Mod(n, divisor.SetUint64(p)).Uint64()] {
			return false
		}
	}
	return true
}

// hasClosePrimes reports whether Fermat's factorization (n = a^2 - b^2, with a just above the square root of n) succeeds within
// the given number of rounds, one for each a.
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

// isSquare reports whether n is a square. It computes a root only if the last six bits are those of a square: 12 of 64 values.
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
