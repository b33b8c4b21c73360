package jws

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"slices"

	"github.com/go-jose/go-jose/v4"

	"github.com/acmeca/acmeca/api/acme"
)

// signatureAlgorithms and macAlgorithms are the accepted algorithms (RFC 7518 section 3.1, RFC 8037 section 3.1). The former
// sign requests, the latter only external account bindings (RFC 8555 section 7.3.4). They must never share a member.
var (
	signatureAlgorithms = []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA}
	macAlgorithms       = []jose.SignatureAlgorithm{jose.HS256, jose.HS384, jose.HS512}
)

func algorithmNames(algorithms []jose.SignatureAlgorithm) []string {
	names := make([]string, len(algorithms))
	for i, a := range algorithms {
		names[i] = string(a)
	}
	return names
}

// algorithmFor returns the only algorithm accepted for a public key, so neither the client nor an attacker can choose another.
// It returns "" for an unaccepted kind of key.
func algorithmFor(public crypto.PublicKey) jose.SignatureAlgorithm {
	switch public := public.(type) {
	case *rsa.PublicKey:
		return jose.RS256
	case *ecdsa.PublicKey:
		switch public.Curve {
		case elliptic.P256():
			return jose.ES256
		case elliptic.P384():
			return jose.ES384
		case elliptic.P521():
			return jose.ES512
		}
	case ed25519.PublicKey:
		return jose.EdDSA
	}
	return ""
}

// checkAlgorithm returns badSignatureAlgorithm for an algorithm that is not accepted, with the list that RFC 8555 section 6.2
// requires.
func checkAlgorithm(algorithm string, accepted []jose.SignatureAlgorithm) *acme.Problem {
	if slices.Contains(accepted, jose.SignatureAlgorithm(algorithm)) {
		return nil
	}
	problem := acme.NewProblem(acme.BadSignatureAlgorithm, "algorithm %q is not accepted; use one of %v",
		acme.Printable(algorithm, 32), accepted)
	problem.Algorithms = algorithmNames(accepted)
	return problem
}
